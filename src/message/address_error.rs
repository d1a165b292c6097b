//! Why an address field is refused, in words for the person whose program wrote it.

use thiserror::Error;

use crate::smtp::{Domain, PathError};

/// Why a field does not hold exactly one address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// The field is empty.
    #[error("holds no address")]
    Empty,
    /// The field holds a list of addresses.
    #[error("holds more than one address")]
    Several,
    /// The field holds a group (`name: a@test.dk;`), or a name with a colon or semicolon outside of quotes.
    #[error(
        "is not of the form \"Name\" <address>: a name with a colon or semicolon needs its quotes, and a group is not accepted"
    )]
    Group,
    /// The field holds a name with a comma that is not in quotes: `Hansen, Ole <ole@test.dk>`.
    #[error("is not of the form \"Name\" <address>: a name with a comma needs double quotes")]
    Comma,
    /// The field holds a name with an `@` that is not in quotes: Outlook writes `'a@test.dk' <a@test.dk>`.
    #[error("is not of the form \"Name\" <address>: a name with an @ needs double quotes, or must be left out")]
    Name,
    /// The field is neither `name <address>` nor `address`.
    #[error("is not of the form \"Name\" <address>")]
    Syntax,
    /// The domain is written in a form that other readers may look up as another domain.
    #[error("has its domain in a form that others may take for another one; write it as {0}")]
    Form(Domain),
    /// The field holds a control character, perhaps after its encoded words are decoded.
    #[error("holds a control character, perhaps in an encoded word; take it out")]
    Control,
    /// The field holds a character that readers do not show, that turns text around, or that is shown as another one.
    #[error("holds U+{:04X}, which readers do not show as what it is; take it out", u32::from(*.0))]
    Unseen(char),
    /// The field holds an encoded word in a character set that is not known here, or that can be read in two ways.
    #[error("holds an encoded word in the character set \"{0}\", which not all readers read alike; write it in utf-8")]
    Charset(String),
    /// The field holds an encoded word that readers take apart in different ways.
    #[error("holds an encoded word that not all readers decode alike; encode it anew")]
    Encoded,
    /// The address itself is wrong.
    #[error("{0}")]
    Address(PathError),
}
