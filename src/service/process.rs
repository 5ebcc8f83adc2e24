//! shell: asks the system what a process has and costs (`proc(5)`).
#![allow(clippy::disallowed_methods, reason = "this shell reads /proc")]

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Ticks a second in `/proc`: 100 on every Linux, whatever the kernel's own clock does (proc_pid_stat(5), sysconf(3)).
const TICKS: u64 = 100;

/// The directory the service manager made for this run (`RuntimeDirectory=`); the first if there are several.
#[must_use]
pub fn runtime_dir() -> Option<PathBuf> {
    let directories = std::env::var_os("RUNTIME_DIRECTORY")?;
    std::env::split_paths(&directories).next().filter(|path| path.is_absolute())
}

/// Asks the system to let this process open `files` files, connections among them, and gives how many it may.
#[must_use]
pub fn raise_open_files(files: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current.unwrap_or(u64::MAX);
    let wanted = files.min(limit.maximum.unwrap_or(u64::MAX));
    if current >= wanted {
        return current;
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_ok() { wanted } else { current }
}

/// What a process has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, user and system.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub rss: u64,
    /// Bytes it has caused to be written to disk.
    pub written: u64,
}

/// Asks for process `id`, or this one.
///
/// # Errors
/// The system does not tell: no such process, not ours, no `/proc`.
pub fn usage(id: Option<u32>) -> io::Result<Usage> {
    let id = id.map_or("self".to_owned(), |id| id.to_string());
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}"));
    let missing = |what: &str| io::Error::other(format!("/proc/{id} does not tell {what}"));
    let number = |text: String, key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let rss = number(read("status")?, "VmRSS:").ok_or_else(|| missing("VmRSS"))? * 1024;
    // Under emulation the file may be missing, or belong to somebody else.
    let written = read("io").ok().and_then(|text| number(text, "write_bytes:")).unwrap_or(0);
    let cpu = cpu(&read("stat")?).ok_or_else(|| missing("its processor time"))?;
    Ok(Usage { cpu, rss, written })
}

fn cpu(stat: &str) -> Option<Duration> {
    // The name of the program may hold anything; the numbers begin behind its last bracket, with the third field.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_some_memory() {
        let this = usage(None).expect("the system tells");
        assert!(this.rss > 500_000);
        assert_eq!(
            usage(Some(std::process::id())).expect("the same").rss / 10_000_000,
            this.rss / 10_000_000
        );
    }

    #[test]
    fn a_name_full_of_brackets_hides_no_numbers() {
        let stat = "7 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0";
        assert_eq!(cpu(stat), Some(Duration::from_secs(2)));
    }
}
