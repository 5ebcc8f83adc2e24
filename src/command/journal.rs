//! shell: the file with the requests that were taken: it outlives the program, so that none is written twice.
#![allow(clippy::disallowed_methods, reason = "reads and writes its file")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::book::{Book, Line, REQUESTS_MAX};

/// Its name in the state directory.
const NAME: &str = "requests";

/// The file of the book. Each line is JSON.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    lines: usize,
    /// The last line may have been written in part.
    is_torn: bool,
}

impl Journal {
    /// Reads what there is and goes on with the shortest file that says the same. A line that was not finished was never
    /// relied on.
    pub(super) fn open(state_dir: &Path) -> io::Result<(Self, Book)> {
        let path = state_dir.join(NAME);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        // A power cut may leave anything behind the last line that was relied on.
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        let book = Book::new(lines);
        let (file, lines) = rewrite(&path, &book)?;
        Ok((Self { path, file, lines, is_torn: false }, book))
    }

    /// Adds a line; with `sync` it is on the disk when this returns.
    pub(super) fn add(&mut self, line: &Line, sync: bool) -> io::Result<()> {
        // What a full disk has cut off must not take the next line with it.
        let end = if self.is_torn { "\n" } else { "" };
        self.is_torn = true;
        self.file.write_all(format!("{end}{}", text(line)?).as_bytes())?;
        self.is_torn = false;
        self.lines += 1;
        if sync { self.file.sync_data() } else { Ok(()) }
    }

    /// Makes the file short again if it has grown long.
    pub(super) fn tidy_up(&mut self, book: &Book) -> io::Result<()> {
        if self.lines > REQUESTS_MAX * 2 {
            (self.file, self.lines) = rewrite(&self.path, book)?;
        }
        Ok(())
    }
}

fn text(line: &Line) -> io::Result<String> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    Ok(text)
}

fn rewrite(path: &Path, book: &Book) -> io::Result<(File, usize)> {
    let fresh = path.with_extension("new");
    let lines = book.lines();
    let text = lines.iter().map(text).collect::<io::Result<String>>()?;
    fs::write(&fresh, text)?;
    File::open(&fresh)?.sync_data()?;
    fs::rename(&fresh, path)?;
    Ok((OpenOptions::new().append(true).open(path)?, lines.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::book::{Begun, Key};

    #[test]
    fn what_was_begun_outlives_the_program_and_a_torn_line_is_passed_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let begun = |topic: &str| Begun {
            keys: vec![Key::new(&[topic.as_bytes()])],
            topic: topic.to_owned(),
            id: Some("x".into()),
            ..Begun::default()
        };
        let (mut journal, book) = Journal::open(dir.path()).expect("a file");
        assert_eq!(book.open(), []);
        for topic in ["a", "b"] {
            journal.add(&Line::Begun(begun(topic)), true).expect("room");
        }
        journal.add(&Line::Answered(begun("a").keys[0]), false).expect("room");
        journal.file.write_all(b"{\"begun\":{\"keys\":[1").expect("room");
        // As after a write that failed.
        journal.is_torn = true;
        journal.add(&Line::Begun(begun("c")), true).expect("room");
        journal.file.write_all(b"\xff\0\xfe{\"begun\"").expect("room");
        drop(journal);
        let (_, mut book) = Journal::open(dir.path()).expect("a file");
        assert_eq!(book.open(), [begun("b"), begun("c")]);
        assert!(!book.take(&[], &begun("a").keys));
    }
}
