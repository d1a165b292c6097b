//! The messages that were lost because the disk damaged them. `LIST` in the quarantine names them. `TOLD` holds an offset in `LIST`: the
//! events about the messages before it are in the event log.
//!
//! A message in a part that the disk did not return for the first time is not lost yet. Its line says `unread:`, and the next start writes
//! another line: the message is lost, or the disk has `returned:` it. So no message is reported as lost and relayed later.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::files;
use crate::message::QueueId;
use crate::time::Timestamp;

pub(super) const LIST: &str = "LIST";
const TOLD: &str = "TOLD";
/// The extension of a copy of a torn write. Nothing of it was acknowledged.
pub(super) const TORN: &str = "torn";

/// The folder of the quarantine.
pub(super) fn folder(spool: &Path) -> PathBuf {
    spool.join("quarantine")
}

/// A message that was acknowledged and cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The id of the message.
    pub id: QueueId,
    /// When that was found.
    pub at: Timestamp,
    /// The copy of its octets as they are now.
    pub copy: PathBuf,
    /// What is wrong with them.
    pub why: String,
}

/// What a line of the list says of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// They are lost.
    Lost,
    /// The disk did not return them at one start. The next start may find them.
    Unread,
    /// A later start found them, or the result that settled them.
    Returned,
}

impl Fate {
    /// The word in front of the ids.
    const fn word(self) -> &'static str {
        match self {
            Fate::Lost => "",
            Fate::Unread => "unread:",
            Fate::Returned => "returned:",
        }
    }

    /// Splits the field of a line with the ids.
    fn of(field: &str) -> (Fate, impl Iterator<Item = QueueId>) {
        let words = [Fate::Unread, Fate::Returned];
        let found = words.into_iter().find_map(|fate| field.strip_prefix(fate.word()).map(|ids| (fate, ids)));
        let (fate, ids) = found.unwrap_or((Fate::Lost, field));
        (fate, ids.split(',').filter_map(|id| id.parse().ok()))
    }
}

/// Durably adds a line to the list about a copy with this name.
pub(super) fn list(spool: &Path, name: &str, (fate, ids): (Fate, &[QueueId]), why: &str) -> io::Result<()> {
    let named = ids.iter().map(QueueId::to_string).collect::<Vec<_>>().join(",");
    let field = if named.is_empty() { "-".to_owned() } else { format!("{}{named}", fate.word()) };
    let mut list = OpenOptions::new().append(true).create(true).open(folder(spool).join(LIST))?;
    writeln!(list, "{}\t{name}\t{field}\t{why}", Timestamp::now())?;
    list.sync_all()
}

/// The messages of the list, each with the name of its copy and the reason, as the last line about it says.
#[derive(Default)]
pub(super) struct Listed {
    /// The next start may find them.
    pub unread: BTreeMap<QueueId, (String, String)>,
    /// They count as lost.
    pub lost: BTreeMap<QueueId, (String, String)>,
}

/// Reads the whole list. Blocks.
pub(super) fn listed(spool: &Path) -> io::Result<Listed> {
    let list = read_list(spool)?;
    let mut listed = Listed::default();
    for line in String::from_utf8_lossy(&list).lines().filter_map(Line::parse) {
        let (fate, ids) = Fate::of(line.ids);
        for id in ids {
            listed.unread.remove(&id);
            listed.lost.remove(&id);
            let about = (line.name.to_owned(), line.why.to_owned());
            match fate {
                Fate::Lost => drop(listed.lost.insert(id, about)),
                Fate::Unread => drop(listed.unread.insert(id, about)),
                Fate::Returned => {}
            }
        }
    }
    Ok(listed)
}

fn read_list(spool: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(folder(spool).join(LIST)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        list => list,
    }
}

/// A line of the list about something that was acknowledged. The rest of a torn write was not.
struct Line<'a> {
    at: Timestamp,
    name: &'a str,
    ids: &'a str,
    why: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Line<'a>> {
        let mut fields = line.splitn(4, '\t');
        let (at, name, ids, why) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let is_torn = name.rsplit_once('.').is_none_or(|(_, extension)| extension == TORN);
        Some(Line { at: at.parse().ok().filter(|_| !is_torn)?, name, ids, why })
    }
}

/// Returns the lost messages that have no event yet, and the offset for [`set_told`] once they have. Blocks.
pub fn untold(spool: &Path) -> io::Result<(Vec<Lost>, u64)> {
    let told = match files::read_state(&folder(spool).join(TOLD)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        text => String::from_utf8_lossy(&text?).trim().parse().unwrap_or_default(),
    };
    let list = read_list(spool)?;
    // Leave out a line that is still being written. An operator may have emptied the list since the last call.
    let end = list.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
    let from = usize::try_from(told).ok().filter(|from| *from <= end).unwrap_or_default();
    let lines = String::from_utf8_lossy(&list[from..end]);
    let mut lost: Vec<Lost> = Vec::new();
    for line in lines.lines().filter_map(Line::parse) {
        let copy = folder(spool).join(line.name);
        match Fate::of(line.ids) {
            (Fate::Lost, ids) => {
                lost.extend(ids.map(|id| Lost { id, at: line.at, copy: copy.clone(), why: line.why.to_owned() }));
            }
            (Fate::Unread, _) => {}
            // No event has said that it is lost, so none is needed.
            (Fate::Returned, ids) => ids.for_each(|id| lost.retain(|lost| lost.id != id)),
        }
    }
    Ok((lost, end as u64))
}

/// Records that all messages up to this offset have their events. Blocks.
pub fn set_told(spool: &Path, place: u64) -> io::Result<()> {
    files::replace(&folder(spool).join(TOLD), format!("{place}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(untold(dir.path()).unwrap(), (Vec::new(), 0));
        std::fs::create_dir(folder(dir.path())).unwrap();
        let [one, two, three] = [1, 2, 3].map(QueueId::from_u64);
        let line = |name: &str, ids: &str| format!("2026-11-23T18:24:00.123Z\t{name}\t{ids}\tits head\tis damaged\n");
        let list = |text: &str| std::fs::write(folder(dir.path()).join(LIST), text).unwrap();
        let first =
            line("a.record", &format!("{one},{two}")) + &line("b.record", "-") + &line("c.torn", &two.to_string());
        list(&(first.clone() + "2026-11-23T18:24:00.123Z\td.rec"));
        let (lost, place) = untold(dir.path()).unwrap();
        assert_eq!(lost.iter().map(|lost| lost.id).collect::<Vec<_>>(), [one, two]);
        assert_eq!(
            (lost[0].why.as_str(), &lost[0].copy),
            ("its head\tis damaged", &folder(dir.path()).join("a.record"))
        );
        assert_eq!(place, first.len() as u64);
        assert_eq!(untold(dir.path()).unwrap().0.len(), 2, "until it is noted");
        set_told(dir.path(), place).unwrap();
        assert_eq!(untold(dir.path()).unwrap(), (Vec::new(), place));
        list(&(first + &line("d.record", &three.to_string())));
        assert_eq!(untold(dir.path()).unwrap().0.iter().map(|lost| lost.id).collect::<Vec<_>>(), [three]);
        // A list that begins anew is read from its beginning.
        list(&line("e.record", &one.to_string()));
        assert_eq!(untold(dir.path()).unwrap().0.len(), 1);
    }

    #[test]
    fn a_message_that_the_next_start_may_find_is_not_lost_before_that_start() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder(dir.path())).unwrap();
        let ids = [1, 2, 3].map(QueueId::from_u64);
        let say =
            |fate, ids: &[QueueId]| list(dir.path(), "a.record", (fate, ids), "the disk does not return it").unwrap();
        let now = || {
            let listed = listed(dir.path()).unwrap();
            let lost = untold(dir.path()).unwrap().0.iter().map(|lost| lost.id).collect::<Vec<_>>();
            assert_eq!(lost, listed.lost.keys().copied().collect::<Vec<_>>());
            (listed.unread.keys().copied().collect::<Vec<_>>(), lost)
        };
        say(Fate::Unread, &ids);
        say(Fate::Unread, &[]);
        assert_eq!(now(), (ids.to_vec(), Vec::new()));
        say(Fate::Returned, &ids[..1]);
        say(Fate::Lost, &ids[1..]);
        assert_eq!(now(), (Vec::new(), ids[1..].to_vec()));
        // The disk has changed its mind.
        say(Fate::Returned, &ids[1..2]);
        assert_eq!(now(), (Vec::new(), ids[2..].to_vec()));
    }
}
