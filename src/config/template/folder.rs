//! shell: the operator's own templates: files in a directory.
#![allow(clippy::disallowed_methods, reason = "this shell reads the templates")]

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::library::{TemplateAnswer, TemplateSource};

/// Bytes a template may have.
const BYTES_MAX: u64 = 1 << 20;

/// The templates beside a configuration file, or where it says that they are.
#[derive(Debug, Clone)]
pub struct TemplateFolder {
    beside: PathBuf,
}

impl TemplateFolder {
    /// Those of the configuration file at `path`: in `templates` beside it, unless it says otherwise.
    #[must_use]
    pub fn beside(path: &Path) -> Self {
        Self { beside: path.parent().unwrap_or(Path::new("")).to_owned() }
    }

    fn dir(&self, folder: Option<&str>) -> PathBuf {
        self.beside.join(folder.unwrap_or("templates"))
    }
}

impl TemplateSource for TemplateFolder {
    fn names(&self, folder: Option<&str>) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.dir(folder)) else { return Vec::new() };
        let names = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_yaml = path.extension().is_some_and(|extension| extension == "yaml");
            is_yaml.then(|| path.file_stem()?.to_str().map(str::to_owned)).flatten()
        });
        names.collect()
    }

    fn template(&self, folder: Option<&str>, name: &str) -> TemplateAnswer {
        let path = self.dir(folder).join(format!("{name}.yaml"));
        let mut text = String::new();
        let read = std::fs::File::open(&path)
            .and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text));
        let file = path.display().to_string();
        let unreadable = |file, message: String, remedy: &str| TemplateAnswer::Unreadable {
            file,
            message,
            remedy: remedy.to_owned(),
        };
        match read {
            Ok(_) if text.len() as u64 > BYTES_MAX => {
                let message = format!("this template is longer than {} MiB", BYTES_MAX >> 20);
                unreadable(file, message, "look whether it is the right file")
            }
            Ok(_) => TemplateAnswer::Found { file, text },
            Err(error) if error.kind() == ErrorKind::NotFound => TemplateAnswer::Absent,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                unreadable(file, "this template is not UTF-8 text".to_owned(), "save it as UTF-8")
            }
            Err(error) => unreadable(
                file,
                format!("this template cannot be read: {error}"),
                "let the user of the service read it",
            ),
        }
    }
}
