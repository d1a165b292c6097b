//! The kernel turns a file system read-only when it finds an error on it: mail is refused from then on, and what was acknowledged
//! is there after the repair.

use std::io::{BufRead, BufReader};
use std::sync::mpsc;
use std::time::Duration;

use crate::check::{End, Log, assert_legal, check};
use crate::disks::Mounted;
use crate::driver::{kill, start};
use crate::{rounds, skip};

#[tokio::test]
async fn a_file_system_that_turns_read_only_refuses_mail_and_keeps_what_was_acknowledged() {
    let name = "a_file_system_that_turns_read_only_refuses_mail_and_keeps_what_was_acknowledged";
    for _ in 0..rounds(3) {
        if let Err(reason) = turn_read_only_once().await {
            return skip::skip(name, &reason);
        }
    }
}

/// One file system, once. An error where none can be made, or made read-only, here.
async fn turn_read_only_once() -> Result<(), String> {
    let disk = Mounted::make("ext4")?;
    let spool = disk.path().join("spool");
    let mut driver = start(&spool, &[], 60.0);
    let said = BufReader::new(driver.stdout.take().expect("it is piped"));
    let (at_work, is_at_work) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let (mut all, mut acknowledged) = (String::new(), 0);
        for line in said.lines() {
            let line = line?;
            acknowledged += u32::from(line.starts_with("A "));
            if acknowledged == 20 {
                // It is told once or more often, and heard once.
                let _ = at_work.send(());
            }
            all += &(line + "\n");
        }
        Ok::<_, std::io::Error>(all)
    });
    is_at_work.recv_timeout(Duration::from_secs(30)).expect("the driver gets to work");
    let turned = disk.turn_read_only();
    // Longer than the spool waits before it writes again after a failure.
    std::thread::sleep(Duration::from_millis(1200));
    kill(&driver);
    driver.wait().expect("it was started here");
    let all = reader.join().expect("the reader does not panic").expect("the driver writes text");
    turned?;
    disk.restart().expect("the file system can be mounted again");
    let mut log = Log::default();
    log.add(&all, End::Power);
    assert!(log.acknowledged.len() >= 10, "the driver did not get to work: {}", log.acknowledged.len());
    assert!(!log.refused.is_empty(), "nothing was refused on a read-only file system");
    assert_legal(&check(&spool, &log).await, "after the file system turned read-only");
    Ok(())
}
