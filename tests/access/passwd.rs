//! `fieldpost passwd`.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fieldpost::access::Users;

use crate::support::{Process, pty_pair, require_peers};

fn run(file: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fieldpost"))
        .arg("passwd")
        .arg(file)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // It may have ended without asking.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn set(file: &Path, user: &str, password: &str) {
    let done = run(file, &[user, "--password-stdin"], &format!("{password}\n"));
    assert!(done.status.success(), "{done:?}");
    assert!(done.stdout.is_empty() && done.stderr.is_empty(), "{done:?}");
}

#[track_caller]
fn opens(file: &Path, user: &str, password: &str) -> bool {
    let users =
        Users::new(Users::parse(&fs::read_to_string(file).unwrap()).expect("all are right"));
    let (hash, known) = users.find(user);
    known && hash.verify(password.as_bytes())
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_password_is_set_changed_and_taken_out_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users");
    set(&file, "ann", "pa:ss wört$ ");
    assert_eq!(mode(&file), 0o600);
    assert!(opens(&file, "ann", "pa:ss wört$ ") && !opens(&file, "ann", "pa:ss wört$"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let ann = fs::read_to_string(&file).unwrap();
    assert!(ann.starts_with("ann:$argon2id$v=19$m=19456,t=2,p=1$"), "{ann}");
    let done = Command::new("mosquitto_passwd").arg("-b").arg(&file).args(["bob", "x"]).output();
    assert!(done.expect("it runs").status.success());
    set(&file, "ann", "other");
    assert!(opens(&file, "ann", "other") && opens(&file, "bob", "x"));
    let done = run(&file, &["--delete", "ann"], "");
    assert!(done.status.success(), "{done:?}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("bob:$7$") && text.lines().count() == 1, "{text}");
    // Nothing is left beside it.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_file_keeps_its_mode_and_a_link_stays_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("users"), dir.path().join("link"));
    fs::write(&file, "# ours\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    set(&link, "ann", "x");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(mode(&file), 0o644);
    assert!(fs::read_to_string(&file).unwrap().starts_with("# ours\nann:$argon2id$"));
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_the_file_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users");
    set(&file, "ann", "x");
    let before = fs::read_to_string(&file).unwrap();
    for (arguments, input, said) in [
        (&["--delete", "eve"][..], "", "there is no user `eve`"),
        (&["a:b", "--password-stdin"], "x\n", "`a:b` cannot be the name of a user"),
        (&["ann", "--password-stdin"], "\n", "an empty password"),
        (&["ann", "--password-stdin"], "", "an empty password"),
        (&["ann"], "x\nx\n", "--password-stdin"),
    ] {
        let done = run(&file, arguments, input);
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert!(stderr.contains(said), "{stderr}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    let nowhere = run(&dir.path().join("no/users"), &["ann", "--password-stdin"], "x\n");
    assert_eq!(nowhere.status.code(), Some(1));
}

#[test]
fn a_file_of_something_else_gets_no_user_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key.pem");
    fs::write(&file, "-----BEGIN PRIVATE KEY-----\nMIIE\n").unwrap();
    let refused = run(&file, &["ann", "--password-stdin"], "secret\n");
    assert!(!refused.status.success(), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("key.pem:1: ") && told.contains("nothing was changed"), "{told}");
    assert!(!fs::read_to_string(&file).unwrap().contains("ann"));
}

#[test]
fn who_is_not_there_is_told_with_the_file_and_d_is_short_for_delete() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users");
    set(&file, "ann", "secret");
    let refused = run(&file, &["-D", "bob"], "");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{told}");
    assert!(told.contains("users") && told.contains("`bob`"), "{told}");
    assert!(run(&file, &["-D", "ann"], "").status.success());
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
}

#[test]
fn a_terminal_shows_again_what_is_typed_however_the_question_ends() {
    require_peers();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("users");
    for end in ["INT", "TERM", "HUP", "an answer"] {
        let line = pty_pair();
        let terminal = line.near().display().to_string();
        let stty = |arguments: &[&str]| {
            let out = Command::new("stty").args(["-F", &terminal]).args(arguments).output();
            String::from_utf8(out.expect("stty runs").stdout).expect("text")
        };
        let shows = || stty(&["-a"]).split([' ', '\n', ';']).any(|word| word == "echo");
        stty(&["icanon", "echo"]);
        assert!(shows());
        let mut command = Command::new("sh");
        let asks = "exec \"$0\" passwd \"$1\" ann < \"$2\"";
        command.args(["-c", asks, env!("CARGO_BIN_EXE_fieldpost")]).arg(&file).arg(&terminal);
        let mut asking = Process::spawn(command, &dir.path().join(end));
        asking.wait_for_log("Password of ann:");
        crate::support::wait_until("it is hidden", || !shows());
        if end == "an answer" {
            let mut keys = fs::File::options().write(true).open(line.far()).expect("a keyboard");
            keys.write_all(b"one\n").expect("it is typed");
            asking.wait_for_log("Again:");
            keys.write_all(b"two\n").expect("it is typed");
            asking.wait_for_log("the two passwords differ");
        } else {
            asking.signal(end);
        }
        assert_eq!(asking.wait().code(), Some(1), "{end}");
        assert!(shows(), "{end}");
        assert!(!file.exists());
    }
}
