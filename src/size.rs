//! Formats sizes for the command line and the pages.

/// Writes a number of octets for people, in binary units: `5 B`, `1.2 MiB`.
pub(crate) fn octets(octets: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if octets < 1024 {
        return format!("{octets} B");
    }
    let power = (octets.ilog2() / 10).min(4);
    let value = octets as f64 / f64::from(1u32 << 10).powi(power as i32);
    format!("{value:.1} {}", UNITS[power as usize - 1])
}
