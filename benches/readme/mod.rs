//! Tables in `benches/README.md`: their environment, and their place there.

use std::path::Path;

use anyhow::Context;

/// Where and when: machine, cores, kernel, date.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")).and_then(|l| l.split(':').nth(1));
    format!(
        "{} × {}, Linux {}, {}",
        std::thread::available_parallelism().map_or(1, usize::from),
        model.unwrap_or("unknown CPU").trim(),
        read("/proc/sys/kernel/osrelease").trim(),
        jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC"),
    )
}

/// Puts a table into `benches/README.md` with what it was made on and by, in the place that
/// `name` marks there.
pub fn into_readme(bench: &str, name: &str, table: &str) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/README.md");
    let text = std::fs::read_to_string(&path)?;
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let place = text.split_once(&begin).and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)));
    let (head, tail) = place.with_context(|| format!("{} has no place marked {name}", path.display()))?;
    let cpu = std::env::var("OPENSSL_ia32cap").map(|mask| format!("OPENSSL_ia32cap='{mask}' ")).unwrap_or_default();
    let arguments = std::env::args().skip(1).filter(|argument| argument != "--bench").collect::<Vec<_>>().join(" ");
    let made = format!("{}; `{cpu}cargo bench --bench {bench} -- {arguments}`.", machine());
    std::fs::write(&path, format!("{head}{begin}{made}\n\n{table}{end}{tail}"))?;
    Ok(())
}
