//! Shows the table as text for people, as lines for a zone file and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{RecordTable, Row};
use crate::onboarding::Item;
use crate::onboarding::text::{Lang, Text, Word};
use crate::visible::visible;

impl Row {
    /// Returns that DNS did not answer, what is in the way, what comes first, the notes and the obstacles, each on one line.
    pub fn remarks(&self, lang: Lang) -> impl Iterator<Item = String> {
        let unanswered = self.unanswered.then(|| lang.word(Word::Unanswered).to_owned());
        let in_the_way = self.in_the_way.iter().map(move |what| lang.in_the_way(&self.host, what));
        let notes = self.notes.iter().map(move |note| lang.note(note));
        let first = self.first.iter().map(move |finding| {
            let Text { what, next } = lang.finding(finding);
            format!("{what} {next}")
        });
        unanswered
            .into_iter()
            .chain(in_the_way)
            .chain(first)
            .chain(notes)
            .chain(self.obstacles.iter().map(move |obstacle| lang.obstacle(obstacle, self.present)))
    }
}

/// Returns the table as aligned text.
pub fn text(table: &RecordTable, lang: Lang) -> String {
    let head = [Word::Need, Word::For, Word::Type, Word::Host, Word::Label, Word::Value]
        .map(|word| lang.word(word).to_owned());
    let mut lines = vec![head];
    for row in &table.rows {
        let mut value = visible(&row.value).into_owned();
        let state = match (row.present, row.unanswered) {
            (true, _) => Some(Word::AlreadyThere),
            (false, true) => Some(Word::NotKnown),
            (false, false) => None,
        };
        if let Some(state) = state {
            let _ = write!(value, "  ({})", lang.word(state));
        }
        lines.push([
            lang.need(row.need).to_owned(),
            lang.item(row.item).to_owned(),
            row.kind.to_owned(),
            row.host.clone(),
            row.label.clone(),
            value,
        ]);
    }
    let mut out = format!("{}: {}\n\n", lang.name(&table.domain), lang.word(Word::Records));
    for line in &lines {
        for (column, cell) in line.iter().enumerate() {
            // Do not pad the last column: values must be copied without trailing spaces.
            if column == line.len() - 1 {
                out.push_str(cell);
            } else {
                let width = lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
                let _ = write!(out, "{cell:<width$}  ");
            }
        }
        out.push('\n');
    }
    out.push('\n');
    for row in &table.rows {
        let _ = writeln!(out, "{}: {}", lang.item(row.item), lang.why(table, row));
        if let Some(url) = &row.alternative {
            let _ = writeln!(out, "  {} {}", lang.word(Word::OrInstead), lang.name(url));
        }
        for text in row.remarks(lang) {
            let _ = writeln!(out, "  {text}");
        }
    }
    if let Some(host) = &table.mailjet_key_to_come {
        let _ = writeln!(out, "{}: {}", lang.item(Item::MailjetDkim), lang.to_come(host));
    }
    if table.unknown {
        let _ = writeln!(out, "{}", lang.word(Word::Unknown));
    }
    let _ = writeln!(out, "\n{}\n{}", lang.label_hint(table), lang.word(Word::OneLineHint));
    for text in lang.other_steps(table) {
        let _ = writeln!(out, "{text}");
    }
    out
}

/// Returns the tables as JSON, with the texts of each row beside its values.
pub fn json(tables: &[RecordTable], lang: Lang) -> Value {
    let mut value = serde_json::to_value(tables).unwrap_or_default();
    for (table, shown) in tables.iter().zip(value.as_array_mut().into_iter().flatten()) {
        for (row, shown) in table.rows.iter().zip(shown["rows"].as_array_mut().into_iter().flatten()) {
            shown["why"] = json!(lang.why(table, row));
            shown["notes"] = row.remarks(lang).collect();
        }
    }
    value
}

/// Returns the table as lines for a BIND zone file. Records that are already published become comments.
pub fn zone(table: &RecordTable, lang: Lang) -> String {
    let mut out = format!("; {}: {}\n", lang.name(&table.domain), lang.word(Word::Records));
    for row in &table.rows {
        let _ = writeln!(out, "; {} ({}): {}", lang.item(row.item), lang.need(row.need), lang.why(table, row));
        for text in row.remarks(lang) {
            let _ = writeln!(out, "; {text}");
        }
        // Write only records that the zone can load beside the existing ones.
        if row.in_the_way.is_some() {
            continue;
        }
        let comment = if row.present { "; " } else { "" };
        let data = match row.kind {
            "CNAME" => format!("{}.", row.value),
            _ => quoted(&row.value),
        };
        let _ = writeln!(out, "{comment}{}. 3600 IN {} {data}", row.host, row.kind);
    }
    if let Some(host) = &table.mailjet_key_to_come {
        let _ = writeln!(out, "; {}: {}", lang.item(Item::MailjetDkim), lang.to_come(host));
    }
    if table.unknown {
        let _ = writeln!(out, "; {}", lang.word(Word::Unknown));
    }
    out
}

/// Returns a TXT value as strings of at most 255 octets (RFC 1035 §3.3.14), quoted for a zone file (§5.1).
fn quoted(value: &str) -> String {
    let strings: Vec<String> = value
        .as_bytes()
        .chunks(255)
        .map(|chunk| {
            let escaped: String = chunk
                .iter()
                .map(|octet| match octet {
                    b'"' | b'\\' => format!("\\{}", char::from(*octet)),
                    b' '..=b'~' => char::from(*octet).to_string(),
                    octet => format!("\\{octet:03}"),
                })
                .collect();
            format!("\"{escaped}\"")
        })
        .collect();
    match &strings[..] {
        [one] => one.clone(),
        several => format!("( {} )", several.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_strange_values_reach_a_zone_file_whole() {
        assert_eq!(quoted("v=spf1 -all"), "\"v=spf1 -all\"");
        let long = "x".repeat(300);
        assert_eq!(quoted(&long), format!("( \"{}\" \"{}\" )", "x".repeat(255), "x".repeat(45)));
        assert_eq!(quoted("a\"b\\c;ø"), "\"a\\\"b\\\\c;\\195\\184\"");
    }
}
