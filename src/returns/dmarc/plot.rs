//! Draws a domain's mail over time as an SVG: a bar for each day with our mail and others', passing and failing.
//!
//! The SVG has no script and no external references. Its colours have medium lightness, so that it is readable on light and dark pages,
//! even if the page's policy forbids its style. Failing mail is also hatched, so that colour is not the only sign. Title and description
//! say the same in words.

use std::fmt::Write as _;

use super::summary::{Day, Summary};
use super::text;
use crate::onboarding::Lang;

const HEIGHT: f64 = 320.0;
const BOTTOM: f64 = 34.0;
/// The number of horizontal lines above the base.
const LINES: u64 = 4;

/// The measures of a plot.
struct Frame {
    width: f64,
    left: f64,
    right: f64,
    top: f64,
    /// True if the title is drawn. Where it is not, the page says the same.
    has_title: bool,
    /// The width of a column of the legend; `None` for one row.
    column: Option<f64>,
    /// The number of days with a label, about.
    labels: usize,
}

const WIDE: Frame =
    Frame { width: 760.0, left: 64.0, right: 12.0, top: 64.0, has_title: true, column: None, labels: 7 };
/// Fits a phone without being made smaller than one can read.
const NARROW: Frame =
    Frame { width: 340.0, left: 56.0, right: 18.0, top: 60.0, has_title: false, column: Some(178.0), labels: 4 };

/// One part of a bar.
struct Part {
    class: &'static str,
    colour: &'static str,
    is_hatched: bool,
    value: fn(&Day) -> u64,
}

/// The parts from bottom to top.
const PARTS: [Part; 4] = [
    Part { class: "ours-passing", colour: "#2f7ed8", is_hatched: false, value: |day| day.ours_passing },
    Part { class: "others-passing", colour: "#2a9d78", is_hatched: false, value: |day| day.others_passing },
    Part { class: "ours-failing", colour: "#d64550", is_hatched: true, value: |day| day.ours_failing },
    Part { class: "others-failing", colour: "#c77d1e", is_hatched: true, value: |day| day.others_failing },
];

/// Returns what a plot shows, in a sentence, for those who do not see it.
pub fn description(summary: &Summary, lang: Lang) -> String {
    text::plot(summary, lang).description
}

/// Draws the plot for a page or a report.
pub fn svg(summary: &Summary, lang: Lang) -> String {
    drawn(summary, lang, &WIDE)
}

/// Draws the same days for the width of a phone.
pub fn narrow_svg(summary: &Summary, lang: Lang) -> String {
    drawn(summary, lang, &NARROW)
}

fn drawn(summary: &Summary, lang: Lang, frame: &Frame) -> String {
    let (words, width) = (text::plot(summary, lang), frame.width);
    let id: String = summary.domain.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" width=\"{width}\" height=\"{HEIGHT}\" role=\"img\" \
         aria-labelledby=\"dmarc-title-{id} dmarc-desc-{id}\" lang=\"{lang}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <title id=\"dmarc-title-{id}\">{}</title>\n<desc id=\"dmarc-desc-{id}\">{}</desc>\n",
        escaped(&words.title),
        escaped(&words.description),
    );
    out.push_str("<style>@media (prefers-color-scheme:dark){.dmarc-ink{fill:#d0d0d0}}</style>\n<defs>\n");
    for part in PARTS.iter().filter(|part| part.is_hatched) {
        let Part { class, colour, .. } = part;
        let _ = writeln!(
            out,
            "<pattern id=\"dmarc-{class}-{id}\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
             <rect width=\"6\" height=\"6\" fill=\"{colour}\" fill-opacity=\"0.55\"/><rect width=\"3\" height=\"6\" fill=\"{colour}\"/></pattern>"
        );
    }
    out.push_str("</defs>\n");
    if frame.has_title {
        let _ = writeln!(
            out,
            "<text class=\"dmarc-ink\" fill=\"#757575\" x=\"{}\" y=\"18\" font-size=\"14\" font-weight=\"600\">{}</text>",
            frame.left,
            escaped(&words.title)
        );
    }
    legend(&mut out, &id, &words.parts, frame);
    if summary.all.messages == 0 {
        let _ = writeln!(
            out,
            "<text class=\"dmarc-ink\" fill=\"#757575\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n</svg>",
            width / 2.0,
            HEIGHT / 2.0,
            escaped(&words.nothing)
        );
        return out;
    }
    let highest = summary.by_day.iter().map(total).max().unwrap_or_default();
    let top = round_up(highest);
    axis(&mut out, top, lang, frame);
    bars(&mut out, &id, summary, top, lang, frame);
    out.push_str("</svg>\n");
    out
}

fn total(day: &Day) -> u64 {
    PARTS.iter().map(|part| (part.value)(day)).sum()
}

fn fill(part: &Part, id: &str) -> String {
    match part.is_hatched {
        true => format!("url(#dmarc-{}-{id})", part.class),
        false => part.colour.to_owned(),
    }
}

fn legend(out: &mut String, id: &str, names: &[&str; 4], frame: &Frame) {
    let (mut x, mut y) = if frame.has_title { (frame.left, 32.0) } else { (8.0, 4.0) };
    for (at, (part, name)) in PARTS.iter().zip(names).enumerate() {
        let _ = writeln!(
            out,
            "<rect x=\"{x:.0}\" y=\"{y:.0}\" width=\"12\" height=\"12\" fill=\"{}\"/><text class=\"dmarc-ink\" fill=\"#757575\" x=\"{:.0}\" \
             y=\"{:.0}\">{}</text>",
            fill(part, id),
            x + 17.0,
            y + 10.0,
            escaped(name)
        );
        match frame.column {
            Some(column) if at % 2 == 0 => x += column,
            Some(column) => (x, y) = (x - column, y + 20.0),
            None => x += 42.0 + 6.6 * name.chars().count() as f64,
        }
    }
}

fn axis(out: &mut String, top: u64, lang: Lang, frame: &Frame) {
    let height = HEIGHT - frame.top - BOTTOM;
    for line in 0..=LINES {
        let value = top * line / LINES;
        let y = HEIGHT - BOTTOM - height * line as f64 / LINES as f64;
        let _ = writeln!(
            out,
            "<line stroke=\"#8a8a8a\" stroke-opacity=\"{}\" x1=\"{}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"dmarc-ink\" fill=\"#757575\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            if line == 0 { "1" } else { "0.35" },
            frame.left,
            frame.width - frame.right,
            frame.left - 6.0,
            y + 4.0,
            text::number(value, lang)
        );
    }
}

fn bars(out: &mut String, id: &str, summary: &Summary, top: u64, lang: Lang, frame: &Frame) {
    let (width, height) = (frame.width - frame.left - frame.right, HEIGHT - frame.top - BOTTOM);
    let count = summary.by_day.len().max(1);
    let step = width / count as f64;
    let bar = (step * 0.78).max(0.5);
    let label_every = count.div_ceil(frame.labels);
    for (at, day) in summary.by_day.iter().enumerate() {
        let x = frame.left + step * at as f64 + (step - bar) / 2.0;
        let mut y = HEIGHT - BOTTOM;
        for part in &PARTS {
            let value = (part.value)(day);
            if value == 0 {
                continue;
            }
            // Even one message among many is visible.
            let tall = (height * value as f64 / top as f64).max(1.0);
            y -= tall;
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{bar:.1}\" height=\"{tall:.1}\" fill=\"{}\"/>",
                fill(part, id)
            );
        }
        // The last day has a label, and no other label comes too close to it.
        if (count - 1 - at).is_multiple_of(label_every) {
            let _ = writeln!(
                out,
                "<text class=\"dmarc-ink\" fill=\"#757575\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x + bar / 2.0,
                HEIGHT - BOTTOM + 18.0,
                escaped(&lang.short_day(&day.day))
            );
        }
    }
}

/// Returns the next number that the lines divide evenly.
fn round_up(value: u64) -> u64 {
    let mut unit = 1;
    loop {
        for factor in [4, 8, 12, 20, 40] {
            if factor * unit >= value {
                return factor * unit;
            }
        }
        unit *= 10;
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use quick_xml::events::Event;

    use super::*;
    use crate::returns::dmarc::tests::summary;

    #[test]
    fn both_plots_have_every_day_and_end_within_their_width() {
        let summary = summary(30);
        let last = Lang::Da.short_day(&summary.by_day.last().unwrap().day);
        for (picture, width) in [(svg(&summary, Lang::Da), WIDE.width), (narrow_svg(&summary, Lang::Da), NARROW.width)]
        {
            assert!(picture.contains(&format!(">{last}</text>")), "{last}: {picture}");
            let number = |of: &str, name: &str| -> f64 {
                let (_, rest) = of.split_once(&format!(" {name}=\"")).unwrap();
                rest.split('"').next().unwrap().parse().unwrap()
            };
            let bars: Vec<&str> =
                picture.lines().filter(|line| line.starts_with("<rect") && !line.contains("text")).collect();
            let starts: std::collections::BTreeSet<String> =
                bars.iter().map(|bar| number(bar, "x").to_string()).collect();
            assert_eq!(starts.len(), summary.by_day.iter().filter(|day| total(day) > 0).count());
            assert!(bars.iter().all(|bar| number(bar, "x") + number(bar, "width") < width), "{picture}");
        }
    }

    #[test]
    fn axes_end_on_round_numbers() {
        for (value, rounded) in
            [(0, 4), (4, 4), (5, 8), (13, 20), (41, 80), (100, 120), (9_999, 12_000), (400_001, 800_000)]
        {
            assert_eq!(round_up(value), rounded, "{value}");
        }
    }

    #[test]
    fn the_picture_is_whole_xml_without_scripts_and_says_itself_in_words() {
        for (lang, draw) in [(Lang::Da, svg as fn(&Summary, Lang) -> String), (Lang::En, svg), (Lang::Da, narrow_svg)] {
            for days in [1, 30, 400] {
                let picture = draw(&summary(days), lang);
                let mut reader = quick_xml::Reader::from_str(&picture);
                let mut names = Vec::new();
                loop {
                    match reader.read_event().unwrap() {
                        Event::Start(start) | Event::Empty(start) => {
                            names.push(start.name().as_ref().to_owned());
                            for attribute in start.attributes() {
                                let attribute = attribute.unwrap();
                                let name: &str = attribute.key.as_ref();
                                assert!(!name.starts_with("on") && name != "href", "{name}");
                            }
                        }
                        Event::Eof => break,
                        _ => {}
                    }
                }
                assert_eq!(names[..3], ["svg", "title", "desc"]);
                assert!(!names.iter().any(|name| ["script", "image", "use", "foreignObject"].contains(&name.as_str())));
                assert!(picture.contains("role=\"img\"") && picture.contains("test.dk"));
                assert!(!picture.contains("NaN") && !picture.contains("inf"));
            }
        }
        let nothing = svg(&summary(1), Lang::En);
        assert!(nothing.contains("No reports") && nothing.ends_with("</svg>\n"), "{nothing}");
    }
}
