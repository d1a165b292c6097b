//! Charts as SVG, drawn on the server: stacked bars over time. The numbers are in a table below, which the reader can open.

use maud::{Markup, html};

use super::elements::table;

const WIDTH: usize = 360;
const HEIGHT: usize = 140;
const FOOT: usize = 18;
/// The space above the bars for the number of the tallest one.
const HEAD: usize = 16;

/// Draws bars over time. `series` has the names of the stacked parts from below; `points` has a label and one value for each part.
pub(crate) fn bars(title: &str, as_table: &str, series: &[&str], points: &[(String, Vec<u64>)]) -> Markup {
    let is_empty = points.iter().all(|(_, values)| values.iter().all(|value| *value == 0));
    let most = points.iter().map(|(_, values)| values.iter().sum::<u64>()).max().unwrap_or(0).max(1);
    let step = WIDTH / points.len().max(1);
    let width = (step * 4 / 5).max(1);
    let height = |value: u64| {
        usize::try_from(u128::from(value) * (HEIGHT - FOOT - HEAD) as u128 / u128::from(most)).unwrap_or(0)
    };
    let mut rects = Vec::new();
    for (at, (_, values)) in points.iter().enumerate() {
        let mut top = HEIGHT - FOOT;
        for (which, value) in values.iter().enumerate() {
            let tall = height(*value).max(usize::from(*value > 0)).min(top - HEAD);
            top -= tall;
            rects.push((at * step, top, tall, which % 4));
        }
    }
    let every = points.len().div_ceil(6).max(1);
    let headings: Vec<String> = series.iter().map(|name| format!("#{name}")).collect();
    let headings: Vec<&str> = std::iter::once("When").chain(headings.iter().map(String::as_str)).collect();
    let rows = points.iter().map(|(label, values)| {
        std::iter::once(html! { (label) }).chain(values.iter().map(|value| html! { (value) })).collect()
    });
    html! {
        figure {
            figcaption {
                (title)
                // One series alone is what the title says.
                @for (which, name) in series.iter().enumerate().filter(|_| series.len() > 1) {
                    " " svg.chart width="12" height="12" viewBox="0 0 12 12" aria-hidden="true" { rect class={ "s" (which % 4) } width="12" height="12" {} }
                    " " (name)
                }
            }
            svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(title) {
                @for (x, y, tall, which) in rects {
                    rect class={ "s" (which) } x=(x) y=(y) width=(width) height=(tall) {}
                }
                line.axis x1="0" x2=(WIDTH) y1=(HEAD) y2=(HEAD) {}
                @if is_empty {
                    text x="0" y=(HEIGHT - FOOT - 6) { "Nothing in this time" }
                } @else {
                    text x="0" y=(HEAD - 4) { (most) }
                }
                line.axis x1="0" x2=(WIDTH) y1=(HEIGHT - FOOT) y2=(HEIGHT - FOOT) {}
                @for (at, (label, _)) in points.iter().enumerate().filter(|(at, _)| at % every == 0) {
                    text x=(at * step) y=(HEIGHT - 4) { (label) }
                }
            }
            details {
                summary { (as_table) }
                (table(title, &headings, rows))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_bears_no_points_and_the_largest_numbers() {
        for points in [vec![], vec![("x".to_owned(), vec![u64::MAX / 2, 3])], vec![("<x>".to_owned(), vec![0, 0]); 500]]
        {
            let text = bars("<title>", "numbers", &["a", "b"], &points).into_string();
            assert!(text.contains("<svg") && !text.contains("<title>") && !text.contains("<x>"), "{text}");
        }
    }
}
