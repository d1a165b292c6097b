//! Runs a test again with proxies in its environment, and checks that nothing connects to them.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::Command;

/// All names of variables from which programs read a proxy.
const NAMES: [&str; 6] = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// Runs the test `name` of this test program with a proxy in every variable. It must pass, and nothing may connect to the proxy.
pub fn passes_without_the_environments_proxies(name: &str) {
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    proxy.set_nonblocking(true).expect("a socket can be asked without waiting");
    let url = format!("http://{}", proxy.local_addr().expect("an address"));
    let mut again = Command::new(std::env::current_exe().expect("this program"));
    again.args(["--exact", name, "--test-threads=1"]);
    again.envs(NAMES.map(|variable| (variable, &url))).env_remove("NO_PROXY").env_remove("no_proxy");
    let done = again.output().expect("a program that runs, runs again");
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    let connected = proxy.accept().map(|(_, from)| from).map_err(|error| error.kind());
    assert_eq!(connected, Err(ErrorKind::WouldBlock), "{name} went to the proxy: {said}");
    assert!(done.status.success() && said.contains("1 passed"), "{name}: {said}");
}
