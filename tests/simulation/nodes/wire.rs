//! The words of PostgreSQL's protocol (version 3) that the relay's client says and hears: its documentation, "Message Formats".

use std::collections::BTreeMap;

/// A type, by its number in `pg_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Type {
    Bool = 16,
    Bytes = 17,
    Int8 = 20,
    Int2 = 21,
    Int4 = 23,
    Text = 25,
    Float8 = 701,
    Int4s = 1007,
    Texts = 1009,
}

/// A value, as it stands in a row or a parameter in binary form. `None` is null.
pub type Value = Option<Vec<u8>>;

pub fn int2(value: i16) -> Value {
    Some(value.to_be_bytes().to_vec())
}

pub fn int4(value: i32) -> Value {
    Some(value.to_be_bytes().to_vec())
}

pub fn int8(value: i64) -> Value {
    Some(value.to_be_bytes().to_vec())
}

pub fn float8(value: f64) -> Value {
    Some(value.to_be_bytes().to_vec())
}

pub fn truth(value: bool) -> Value {
    Some(vec![value.into()])
}

pub fn text(value: &str) -> Value {
    Some(value.as_bytes().to_vec())
}

/// Reads a whole number of any size.
pub fn number(value: &Value) -> i64 {
    let octets = value.as_deref().unwrap_or_default();
    match *octets {
        [a, b] => i16::from_be_bytes([a, b]).into(),
        [a, b, c, d] => i32::from_be_bytes([a, b, c, d]).into(),
        _ => i64::from_be_bytes(octets.try_into().expect("a number has 2, 4 or 8 octets")),
    }
}

pub fn seconds(value: &Value) -> f64 {
    f64::from_be_bytes(value.as_deref().unwrap_or_default().try_into().expect("a float8 has 8 octets"))
}

pub fn words(value: &Value) -> String {
    String::from_utf8(value.clone().unwrap_or_default()).expect("texts are UTF-8")
}

/// Reads an array of one dimension.
pub fn array(value: &Value) -> Vec<Value> {
    let mut rest = Reader(value.as_deref().unwrap_or_default());
    let dimensions = rest.int4();
    let (_, _) = (rest.int4(), rest.int4());
    if dimensions == 0 {
        return Vec::new();
    }
    let (length, _) = (rest.int4(), rest.int4());
    (0..length).map(|_| rest.value()).collect()
}

/// Reads octets in order.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    pub fn int2(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().expect("two octets"))
    }

    pub fn int4(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().expect("four octets"))
    }

    /// A value with its length before it.
    pub fn value(&mut self) -> Value {
        let length = self.int4();
        usize::try_from(length).ok().map(|length| self.take(length).to_vec())
    }

    /// A text that ends with a zero.
    pub fn name(&mut self) -> String {
        let end = self.0.iter().position(|octet| *octet == 0).expect("a name ends with a zero");
        let name = String::from_utf8(self.take(end).to_vec()).expect("names are UTF-8");
        self.take(1);
        name
    }
}

/// What a client says.
#[derive(Debug)]
pub enum Said {
    Startup { application: String },
    Query(String),
    Parse { name: String, sql: String },
    Describe(String),
    Bind { statement: String, parameters: Vec<Value> },
    Execute,
    Close,
    Sync,
    Flush,
    CopyData(Vec<u8>),
    CopyDone,
    CopyFail,
    Terminate,
}

/// The next message of what came, and its length in octets.
pub fn next(came: &[u8], has_started: bool) -> Option<(Said, usize)> {
    let before = usize::from(has_started);
    let length = came.get(before..before + 4)?;
    let length = before + i32::from_be_bytes(length.try_into().expect("four octets")).unsigned_abs() as usize;
    let mut rest = Reader(came.get(before + 4..length)?);
    if !has_started {
        assert_eq!(rest.int4(), 0x3_0000, "version 3 of the protocol");
        let mut given = BTreeMap::new();
        while rest.0.len() > 1 {
            let name = rest.name();
            given.insert(name, rest.name());
        }
        let application = given.remove("application_name").unwrap_or_default();
        return Some((Said::Startup { application }, length));
    }
    let said = match came[0] {
        b'Q' => Said::Query(rest.name()),
        b'P' => Said::Parse { name: rest.name(), sql: rest.name() },
        b'D' => {
            assert_eq!(rest.take(1), b"S", "statements are described, and no portals");
            Said::Describe(rest.name())
        }
        b'B' => {
            let (_, statement) = (rest.name(), rest.name());
            let formats = rest.int2();
            (0..formats).for_each(|_| assert_eq!(rest.int2(), 1, "parameters are binary"));
            let parameters = rest.int2();
            Said::Bind { statement, parameters: (0..parameters).map(|_| rest.value()).collect() }
        }
        b'E' => Said::Execute,
        b'C' => Said::Close,
        b'S' => Said::Sync,
        b'H' => Said::Flush,
        b'd' => Said::CopyData(rest.0.to_vec()),
        b'c' => Said::CopyDone,
        b'f' => Said::CopyFail,
        b'X' => Said::Terminate,
        other => panic!("the relay's client says nothing like {}", char::from(other)),
    };
    Some((said, length))
}

/// Answers of the server.
#[derive(Default)]
pub struct Answers(pub Vec<u8>);

impl Answers {
    fn message(&mut self, tag: u8, content: &[u8]) {
        let length = i32::try_from(content.len() + 4).expect("answers are short");
        self.0.push(tag);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(content);
    }

    pub fn started(&mut self, process: i32) {
        self.message(b'R', &0i32.to_be_bytes());
        self.message(b'K', &[process.to_be_bytes(), [0; 4]].concat());
    }

    /// `state` is the letter of the transaction: idle, in one, or in one that failed.
    pub fn ready(&mut self, state: u8) {
        self.message(b'Z', &[state]);
    }

    pub fn parsed(&mut self) {
        self.message(b'1', &[]);
    }

    pub fn bound(&mut self) {
        self.message(b'2', &[]);
    }

    pub fn closed(&mut self) {
        self.message(b'3', &[]);
    }

    pub fn parameters(&mut self, types: &[Type]) {
        let mut content = (types.len() as i16).to_be_bytes().to_vec();
        types.iter().for_each(|one| content.extend((*one as i32).to_be_bytes()));
        self.message(b't', &content);
    }

    /// The columns of a statement that gives rows. `format` is 0 for text, 1 for binary.
    pub fn columns(&mut self, types: &[Type], format: i16) {
        if types.is_empty() {
            return self.message(b'n', &[]);
        }
        let mut content = (types.len() as i16).to_be_bytes().to_vec();
        for one in types {
            content.extend(b"c\0");
            content.extend([0; 6]);
            content.extend((*one as i32).to_be_bytes());
            content.extend((-1i16).to_be_bytes());
            content.extend((-1i32).to_be_bytes());
            content.extend(format.to_be_bytes());
        }
        self.message(b'T', &content);
    }

    pub fn row(&mut self, values: &[Value]) {
        let mut content = (values.len() as i16).to_be_bytes().to_vec();
        for value in values {
            let length = value.as_ref().map_or(-1, |octets| octets.len() as i32);
            content.extend_from_slice(&length.to_be_bytes());
            content.extend_from_slice(value.as_deref().unwrap_or_default());
        }
        self.message(b'D', &content);
    }

    pub fn complete(&mut self, tag: &str) {
        self.message(b'C', &[tag.as_bytes(), b"\0"].concat());
    }

    pub fn copy_in(&mut self) {
        self.message(b'G', &[1, 0, 0]);
    }

    pub fn error(&mut self, code: &str, why: &str) {
        let content = format!("SERROR\0VERROR\0C{code}\0M{why}\0\0");
        self.message(b'E', content.as_bytes());
    }
}
