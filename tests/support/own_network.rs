//! A network of a test's own, in which it may have any address.

use std::process::Command;

use super::skip::skip;

/// Runs `work` on a thread with a network namespace of its own, after `ip` has carried out these commands. The network goes when the thread
/// ends. Without the right to make one, says that the test is skipped.
pub fn in_own_network(test: &str, commands: &[&str], work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
                return skip(test, &format!("no network namespace: {error}"));
            }
            for command in commands {
                if !ip(command) {
                    return skip(test, &format!("ip {command} does not work here"));
                }
            }
            work();
        });
    });
}

/// Runs `ip` with these arguments. Returns true if it succeeds.
pub fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).status().is_ok_and(|status| status.success())
}
