//! The languages of texts for people. The texts are in [`text`](super::text).

use std::fmt;
use std::str::FromStr;

/// A language for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lang {
    /// Texts are in Danish.
    Da,
    /// Texts are in English.
    En,
}

impl Lang {
    /// Returns the code of the language, as in the configuration and in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Lang::Da => "da",
            Lang::En => "en",
        }
    }

    /// Writes a number for people: `12,345`, or `12.345` in Danish.
    pub fn number(self, value: u64) -> String {
        let sign = match self {
            Lang::Da => '.',
            Lang::En => ',',
        };
        let digits = value.to_string();
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(sign);
            }
            text.push(digit);
        }
        text
    }

    /// Writes a day without its year, as short as the axis of a drawing needs: `29/11` in Danish, `29 Nov` in English. Takes it as
    /// `2026-11-29`, and returns any other text as it is.
    pub fn short_day(self, day: &str) -> String {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let mut parts = day.splitn(3, '-').skip(1).map(|part| part.parse::<usize>().ok());
        let (Some(Some(month @ 1..=12)), Some(Some(day_of_month))) = (parts.next(), parts.next()) else {
            return day.to_owned();
        };
        match self {
            Lang::Da => format!("{day_of_month}/{month}"),
            Lang::En => format!("{day_of_month} {}", MONTHS[month - 1]),
        }
    }
}

impl fmt::Display for Lang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Lang {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "da" => Ok(Lang::Da),
            "en" => Ok(Lang::En),
            other => Err(format!("\"{other}\" is no language postbud writes: da or en")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_days_are_written_as_people_of_the_language_write_them() {
        assert_eq!([0, 999, 1_800, 1_234_567].map(|value| Lang::Da.number(value)), ["0", "999", "1.800", "1.234.567"]);
        assert_eq!(Lang::En.number(1_800), "1,800");
        for (day, da, en) in [
            ("2026-11-04", "4/11", "4 Nov"),
            ("2026-01-31", "31/1", "31 Jan"),
            ("2026-13-01", "2026-13-01", "2026-13-01"),
            ("soon", "soon", "soon"),
        ] {
            assert_eq!((Lang::Da.short_day(day).as_str(), Lang::En.short_day(day).as_str()), (da, en));
        }
    }
}
