//! shell: a place where a gateway runs: its files, and the gateway itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use super::process::Process;

/// A directory with a configuration, a state directory and a runtime directory; gone with the test.
#[derive(Debug)]
pub struct Site {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
    /// What a shell does first, in mounts of its own.
    prelude: Option<String>,
}

impl Site {
    /// An empty site.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory for the site");
        fs::create_dir(dir.path().join("state")).expect("the state directory");
        fs::create_dir(dir.path().join("run")).expect("the runtime directory");
        Self { dir, env: Vec::new(), prelude: None }
    }

    /// The same site where the gateway finds `name` in its environment.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// From the next start on the gateway runs in mounts of its own, which a shell makes with `script`; `$STATE` is the
    /// state directory, which is found as [`Fieldpost::state_dir`] from outside. They end with the gateway.
    pub fn set_mounts(&mut self, script: &str) {
        self.prelude = Some(script.to_owned());
    }

    /// The directory of everything here.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The directory that survives a power cut.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The directory that survives a kill only.
    pub fn runtime_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("fieldpost.yaml")
    }

    /// Writes the configuration; `{state}` stands for the state directory.
    pub fn write_config(&self, yaml: &str) {
        let yaml = yaml.replace("{state}", &self.state_dir().display().to_string());
        fs::write(self.config(), yaml).expect("the configuration");
    }

    /// Starts the gateway of this site. It is not waited for.
    #[track_caller]
    pub fn start(&self) -> Fieldpost {
        self.start_with(&[])
    }

    /// The same with more in its environment, this time.
    #[track_caller]
    pub fn start_with(&self, env: &[(&str, &str)]) -> Fieldpost {
        Fieldpost { process: spawn(self, env), config: self.config() }
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// A running gateway, killed when dropped.
#[derive(Debug)]
pub struct Fieldpost {
    process: Process,
    config: PathBuf,
}

impl Fieldpost {
    /// The process, for its log and signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The state directory as the gateway sees it, with the mounts that are its own.
    pub fn state_dir(&self, site: &Site) -> PathBuf {
        let state = site.state_dir();
        let state = state.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.process.id().to_string()).join("root").join(state)
    }

    /// Waits until the gateway has logged `text` since its last start.
    #[track_caller]
    pub fn wait_for_log(&mut self, text: &str) {
        self.process.wait_for_log(text);
    }

    /// All it has logged, over restarts.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Asks for an orderly stop, once it has started, and waits for it. A process that is not up yet ends by the signal
    /// itself.
    #[track_caller]
    pub fn sigterm(&mut self) -> ExitStatus {
        self.process.wait_for_log("gateway started");
        self.process.terminate()
    }

    /// Ends it at whatever instruction it is.
    pub fn sigkill(&mut self) {
        self.process.kill();
    }

    /// Starts it again at the same site after it ended.
    #[track_caller]
    pub fn restart(&mut self, site: &Site) {
        assert!(self.process.has_ended(), "the gateway is running");
        assert_eq!(self.config, site.config(), "the gateway belongs to another site");
        self.process = spawn(site, &[]);
    }
}

#[track_caller]
fn spawn(site: &Site, env: &[(&str, &str)]) -> Process {
    let binary = env!("CARGO_BIN_EXE_fieldpost");
    let mut command = match &site.prelude {
        None => Command::new(binary),
        Some(script) => {
            let script = format!("set -e\n{script}\nexec \"$@\"");
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "--mount", "sh", "-c", &script, "sh", binary]);
            command.env("STATE", site.state_dir());
            command
        }
    };
    command
        .arg("run")
        .arg("-c")
        .arg(site.config())
        .env("RUNTIME_DIRECTORY", site.runtime_dir())
        .env_remove("NOTIFY_SOCKET")
        .env_remove("JOURNAL_STREAM")
        .env_remove("RUST_LOG")
        .envs(site.env.iter().map(|(name, value)| (name, value)))
        .envs(env.iter().copied());
    Process::spawn(command, &site.path().join("fieldpost.log"))
}
