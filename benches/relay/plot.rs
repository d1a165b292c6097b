//! Draws the plots of a report as SVG.

use std::path::Path;

use plotters::prelude::*;

use super::report::Outcome;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const SIZE: (u32, u32) = (900, 420);
const ACCEPTED: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const DELIVERED: RGBColor = RGBColor(0xd6, 0x27, 0x28);

/// `throughput.svg` and `latency.svg` of one run.
pub fn run(dir: &Path, outcome: &Outcome) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    throughput(&dir.join("throughput.svg"), outcome).map_err(|e| anyhow::anyhow!("throughput.svg: {e}"))?;
    latency(&dir.join("latency.svg"), outcome).map_err(|e| anyhow::anyhow!("latency.svg: {e}"))
}

/// Delivered a second over what was varied: `(x, delivered/s, CPU µs a message)`.
pub fn scaling(path: &Path, title: &str, axis: &str, points: &[(f64, f64, f64)]) -> anyhow::Result<()> {
    draw_scaling(path, title, axis, points).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
}

fn throughput(path: &Path, outcome: &Outcome) -> Result {
    // Half seconds: short enough to see a stall, long enough not to be noise.
    let halves = |tenths: &[u64]| -> Vec<(f64, f64)> {
        tenths
            .chunks(5)
            .enumerate()
            .map(|(i, c)| (i as f64 / 2.0, c.iter().sum::<u64>() as f64 * 10.0 / c.len() as f64))
            .collect()
    };
    let (accepted, delivered) = (halves(&outcome.series.accepted), halves(&outcome.series.delivered));
    let end = accepted.len().max(delivered.len()) as f64 / 2.0;
    let top = highest(accepted.iter().chain(&delivered).map(|p| p.1));
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Throughput", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..end.max(0.5), 0.0..top)?;
    chart.configure_mesh().x_desc("seconds").y_desc("messages a second").draw()?;
    for (line, color, label) in [(accepted, ACCEPTED, "accepted"), (delivered, DELIVERED, "delivered")] {
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

fn latency(path: &Path, outcome: &Outcome) -> Result {
    let share = |buckets: &[(u64, u64)]| -> Vec<(f64, f64)> {
        let all = buckets.iter().map(|b| b.1).sum::<u64>().max(1) as f64;
        buckets.iter().filter(|b| b.1 > 0).map(|b| (b.0 as f64 / 1000.0, b.1 as f64 * 100.0 / all)).collect()
    };
    let (to_250, delivery) = (share(&outcome.histogram_250), share(&outcome.histogram_delivery));
    let longest = highest(to_250.iter().chain(&delivery).map(|p| p.0)).max(1.0);
    let top = highest(to_250.iter().chain(&delivery).map(|p| p.1));
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Latency from end of DATA", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((0.05..longest).log_scale(), 0.0..top)?;
    chart.configure_mesh().x_desc("milliseconds (log)").y_desc("% of messages").draw()?;
    for (line, color, label) in [(to_250, ACCEPTED, "to 250"), (delivery, DELIVERED, "to delivery")] {
        chart
            .draw_series(AreaSeries::new(line, 0.0, color.mix(0.25)).border_style(color.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

fn draw_scaling(path: &Path, title: &str, axis: &str, points: &[(f64, f64, f64)]) -> Result {
    let last = highest(points.iter().map(|p| p.0));
    let first = points.iter().map(|p| p.0).fold(f64::INFINITY, f64::min);
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .right_y_label_area_size(60)
        .build_cartesian_2d((first..last).log_scale(), 0.0..highest(points.iter().map(|p| p.1)))?
        .set_secondary_coord((first..last).log_scale(), 0.0..highest(points.iter().map(|p| p.2)));
    chart.configure_mesh().x_desc(axis).y_desc("delivered a second").draw()?;
    chart.configure_secondary_axes().y_desc("relay CPU, µs a message").draw()?;
    chart
        .draw_series(LineSeries::new(points.iter().map(|p| (p.0, p.1)), DELIVERED.stroke_width(2)).point_size(4))?
        .label("delivered a second")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], DELIVERED.stroke_width(2)));
    chart
        .draw_secondary_series(
            LineSeries::new(points.iter().map(|p| (p.0, p.2)), ACCEPTED.stroke_width(2)).point_size(4),
        )?
        .label("relay CPU a message")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], ACCEPTED.stroke_width(2)));
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

/// A little over the largest, so that lines do not touch the frame.
fn highest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max).max(1e-3) * 1.1
}
