//! shell: who else has a device file open.
#![allow(clippy::disallowed_methods, reason = "reads /proc on behalf of the port it is part of")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// As [`others`], on a thread of its own: with many processes it takes long enough to make other buses late.
pub(super) async fn look(path: Arc<str>, with_own: bool) -> Vec<String> {
    let looking = tokio::task::spawn_blocking(move || others(&path, with_own));
    looking.await.unwrap_or_default()
}

/// Names and process ids of others that have the device file at `path` open, as far as this user may see them: the
/// files of processes of the same user (of all, as root), and whoever holds a lock on it. `with_own` when this process,
/// too, would be another.
fn others(path: &str, with_own: bool) -> Vec<String> {
    let Ok(device) = fs::metadata(path) else { return Vec::new() };
    let own = std::process::id();
    let mut pids: Vec<u32> = processes().filter(|pid| has_open(*pid, device.rdev())).collect();
    pids.extend(lockers(device.ino()));
    pids.sort_unstable();
    pids.dedup();
    pids.retain(|pid| with_own || *pid != own);
    let name = |pid: &u32| {
        if *pid == own {
            return "this gateway itself, for another bus".to_owned();
        }
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("{} (process {pid})", name.trim())
    };
    pids.iter().map(name).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn has_open(pid: u32, device: u64) -> bool {
    // Most files are none of a device: the name tells before the file is asked.
    let is_it = |file: &Path| {
        fs::read_link(file).is_ok_and(|target| target.starts_with("/dev"))
            && fs::metadata(file).is_ok_and(|file| file.rdev() == device)
    };
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    files.flatten().any(|file| is_it(&file.path()))
}

/// Who holds a lock on the file, by the table of the kernel that everybody may read:
/// `1: FLOCK  ADVISORY  WRITE 1234 00:06:93 0 EOF`.
fn lockers(inode: u64) -> Vec<u32> {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let of = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let kind = fields.next()?;
        let pid = fields.nth(2)?.parse().ok()?;
        let (_, found) = fields.next()?.rsplit_once(':')?;
        (kind == "FLOCK" && found.parse() == Ok(inode)).then_some(pid)
    };
    locks.lines().filter_map(of).collect()
}
