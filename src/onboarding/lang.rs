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
