//! The kernel turns a file system read-only when it finds an error on it: mail is refused from then on, and what was acknowledged
//! is there after the repair.

use std::io::Read;
use std::time::Duration;

use crate::check::{Log, assert_legal, check};
use crate::driver::{kill, start};
use crate::power::Mounted;
use crate::skip;

#[tokio::test]
async fn a_file_system_that_turns_read_only_refuses_mail_and_keeps_what_was_acknowledged() {
    let name = "a_file_system_that_turns_read_only_refuses_mail_and_keeps_what_was_acknowledged";
    let disk = match Mounted::make("ext4") {
        Ok(disk) => disk,
        Err(reason) => return skip::skip(name, &reason),
    };
    let spool = disk.path().join("spool");
    let mut driver = start(&spool, &[], 60.0);
    let mut said = driver.stdout.take().expect("it is piped");
    let reader = std::thread::spawn(move || {
        let mut all = String::new();
        said.read_to_string(&mut all).map(|_| all)
    });
    std::thread::sleep(Duration::from_millis(500));
    let turned = disk.turn_read_only();
    std::thread::sleep(Duration::from_millis(500));
    kill(&driver);
    driver.wait().expect("it was started here");
    let all = reader.join().expect("the reader does not panic").expect("the driver writes text");
    if let Err(reason) = turned {
        return skip::skip(name, &reason);
    }
    disk.restart().expect("the file system can be mounted again");
    let mut log = Log::default();
    log.add(&all);
    assert!(log.acknowledged.len() >= 10, "the driver did not get to work: {}", log.acknowledged.len());
    assert!(!log.refused.is_empty(), "nothing was refused on a read-only file system");
    assert_legal(&check(&spool, &log).await, "after the file system turned read-only");
}
