//! The signer's table as a plot: time over the floor, by size.

use plotters::prelude::*;

use crate::corpus::Shape;

/// Rows of shape, size, and times: RSA floor, ours, mail-auth, both keys, Ed25519 floor, ours, mail-auth.
pub fn ratios(path: &str, rows: &[(Shape, usize, Vec<f64>)]) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(path, (1000, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let halves = root.split_evenly((1, 2));
    for (area, title, floor, top) in [(&halves[0], "RSA-2048", 0, 2.0), (&halves[1], "Ed25519", 4, 4.0)] {
        let mut chart = ChartBuilder::on(area)
            .caption(format!("{title}: time ÷ floor"), ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .build_cartesian_2d((1_500f64..1_500_000f64).log_scale(), 0.9..top)?;
        chart.configure_mesh().x_desc("octets").draw()?;
        for (n, shape) in Shape::ALL.into_iter().enumerate() {
            for (offset, whose) in [(1, "postbud"), (2, "mail-auth")] {
                let line = rows
                    .iter()
                    .filter(|row| row.0 == shape)
                    .map(|(_, size, times)| (*size as f64, times[floor + offset] / times[floor]));
                let color = Palette99::pick(2 * n + offset).stroke_width(2);
                chart
                    .draw_series(LineSeries::new(line, color))?
                    .label(format!("{whose}, {}", shape.name()))
                    .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], color));
            }
        }
        chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
    }
    root.present()?;
    Ok(())
}
