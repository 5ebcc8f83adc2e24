//! shell: the programs the tests run against.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const PROGRAMS: [&str; 8] = [
    "mosquitto",
    "mosquitto_pub",
    "mosquitto_sub",
    "socat",
    "mbpoll",
    "tshark",
    "node",
    "chromium",
];

/// The top of the repository.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `tests/run` puts what it installs.
fn built() -> PathBuf {
    top().join("target/peers")
}

/// What is not there of the programs the tests need, with the remedy; `None` if all is there.
pub fn peers_missing() -> Option<String> {
    let programs = PROGRAMS.iter().filter(|name| find(name).is_none()).map(ToString::to_string);
    let python =
        Some(python()).filter(|path| !path.exists()).map(|path| path.display().to_string());
    let mqtt_js = modules().join("node_modules/mqtt/dist/mqtt.esm.js");
    let mqtt_js =
        Some(mqtt_js).filter(|path| !path.exists()).map(|path| path.display().to_string());
    let libmodbus = [Path::new("/usr/include/modbus/modbus.h")];
    let libmodbus = libmodbus.iter().filter(|path| !path.exists()).map(|p| p.display().to_string());
    let missing: Vec<String> = programs.chain(python).chain(mqtt_js).chain(libmodbus).collect();
    (!missing.is_empty())
        .then(|| format!("{} missing: run ./tests/run --setup-only", missing.join(", ")))
}

/// Fails the test if a program it needs is not there: a test that cannot run has not passed.
#[track_caller]
pub fn require_peers() {
    if let Some(complaint) = peers_missing() {
        panic!("{complaint}");
    }
}

/// The path of an installed program; brokers lie in `sbin`, which not every user searches.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}

/// A command that runs an installed program.
#[track_caller]
pub fn program(name: &str) -> Command {
    require_peers();
    Command::new(find(name).unwrap_or_else(|| panic!("{name} is missing")))
}

/// The Python that has the peers' libraries.
fn python() -> PathBuf {
    built().join("venv/bin/python")
}

/// Where the modules of `tests/peers/package.json` are installed.
pub fn modules() -> PathBuf {
    built().join("node")
}

/// A command that runs one of the scripts in `tests/peers`.
#[track_caller]
pub fn script(name: &str) -> Command {
    require_peers();
    let mut command = Command::new(python());
    command.arg(top().join("tests/peers").join(name));
    command
}

/// The server in `tests/peers/libmodbus_server.c`, compiled if it is older than its source.
#[track_caller]
pub fn libmodbus_server() -> Command {
    require_peers();
    let source = top().join("tests/peers/libmodbus_server.c");
    let target = built().join("libmodbus_server");
    let modified = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    if modified(&target) < modified(&source) {
        // Tests run beside one another: each compiles for itself, and the last to finish stays.
        let own = built().join(format!("libmodbus_server.{}", std::process::id()));
        let done = Command::new("gcc")
            .args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&own, &source])
            .arg("-lmodbus")
            .output()
            .expect("gcc runs");
        assert!(done.status.success(), "gcc: {}", String::from_utf8_lossy(&done.stderr));
        fs::rename(&own, &target).expect("the compiled server takes its place");
    }
    Command::new(target)
}
