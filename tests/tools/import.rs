//! `fieldpost import`: a mosquitto.conf becomes our YAML.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::client::text;

fn fieldpost(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fieldpost")).args(arguments).output().unwrap()
}

/// The files of `tests/data/import` in a directory of the test's own, and that directory.
fn copied() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(&data(), dir.path());
    dir
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import")
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn each_file_becomes_what_lies_beside_it_and_check_takes_that() {
    let dir = copied();
    let mut wrong = Vec::new();
    for name in ["nothing", "per-listener", "site"] {
        let conf = dir.path().join(format!("{name}.conf"));
        let yaml = dir.path().join(format!("{name}.yaml.made"));
        let path = |path: &Path| path.display().to_string();
        let imported =
            fieldpost(&["import", &path(&conf), "--id", "site", "--output", &path(&yaml)]);
        assert!(imported.status.success(), "{imported:?}");
        let made = fs::read_to_string(&yaml).unwrap();
        let told = text(&imported.stderr).replace(&path(&yaml), "FILE");
        for (end, text) in [("yaml", made), ("notes", told)] {
            let text = text.replace(&path(dir.path()), "{dir}");
            let expected = data().join(format!("{name}.{end}"));
            if std::env::var_os("UPDATE_EXPECTED").is_some() {
                fs::write(&expected, &text).unwrap();
            } else if fs::read_to_string(&expected).unwrap_or_default() != text {
                wrong.push(format!("{name}.{end}:\n{text}"));
            }
        }
        let checked = fieldpost(&["check", &path(&yaml)]);
        assert!(checked.status.success(), "{name}: {}", text(&checked.stdout));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_password_is_not_shown_and_a_file_that_is_there_not_overwritten() {
    let dir = copied();
    let conf = dir.path().join("site.conf").display().to_string();
    let imported = fieldpost(&["import", &conf]);
    assert!(imported.status.success());
    for output in [&imported.stdout, &imported.stderr] {
        assert!(!text(output).contains("do not show"), "{}", text(output));
    }
    let there = fieldpost(&["import", &conf, "--output", &conf]);
    assert_eq!(there.status.code(), Some(1));
    assert!(text(&there.stderr).contains("is there already"), "{there:?}");
}

#[test]
fn a_directory_that_cannot_be_read_is_named_with_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("mosquitto.conf");
    fs::write(&conf, "port 1883\ninclude_dir conf.d\n").unwrap();
    let failed = fieldpost(&["import", &conf.display().to_string()]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("mosquitto.conf:2"), "{failed:?}");
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    fs::write(dir.path().join("conf.d/a.conf"), "include_dir ../conf.d\n").unwrap();
    let round = fieldpost(&["import", &conf.display().to_string()]);
    assert!(text(&round.stderr).contains("does one include itself?"), "{round:?}");
}
