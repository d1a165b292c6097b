//! How signing scales over signer threads: the program's own workers, without sockets and disk.

use std::sync::Arc;
use std::time::Instant;

use postbud::dkim::{Job, Profile, Selector, Signer, SigningKey, Workers};
use postbud::smtp::Domain;
use postbud::time::Timestamp;

use super::scratch::{DOMAIN, Scratch};

/// Signatures a second with one and with two signer threads.
pub fn one_and_two(scratch: &Scratch, messages: usize) -> anyhow::Result<(f64, f64)> {
    let pem = std::fs::read(scratch.path("rsa.pem"))?;
    let profile = Profile::new(Domain::parse(DOMAIN)?, Selector::parse("load1")?, SigningKey::from_pem(&pem)?);
    let signer = Arc::new(Signer::new(vec![profile])?);
    Ok((rate(&signer, 1, messages)?, rate(&signer, 2, messages)?))
}

fn rate(signer: &Arc<Signer>, threads: usize, messages: usize) -> anyhow::Result<f64> {
    const AT_ONCE: usize = 16;
    let mut hasher = signer.body_hasher();
    hasher.update(&[b'x'; 78].repeat(128));
    let body = hasher.finish();
    let header = format!("From: news@{DOMAIN}\r\nTo: reader@example.net\r\nSubject: Load\r\n").into_bytes();
    let workers = Workers::start(threads, AT_ONCE * 2)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let began = Instant::now();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (workers, signer, body, header) =
                    (workers.clone(), Arc::clone(signer), body.clone(), header.clone());
                tokio::spawn(async move {
                    for _ in 0..messages / AT_ONCE {
                        let job = Job {
                            signer: Arc::clone(&signer),
                            header: header.clone(),
                            body: body.clone(),
                            now: Timestamp::now(),
                        };
                        workers.sign(job).await?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        anyhow::Ok(())
    })?;
    let rate = (messages / AT_ONCE * AT_ONCE) as f64 / began.elapsed().as_secs_f64();
    workers.stop();
    Ok(rate)
}
