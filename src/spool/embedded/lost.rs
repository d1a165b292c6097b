//! The messages that were lost because the disk damaged them. `LIST` in the quarantine names them. `TOLD` holds an offset in `LIST`: the events
//! about the messages before it are in the event log.

use std::io;
use std::path::{Path, PathBuf};

use super::quarantine::{LIST, TORN, folder};
use crate::files;
use crate::message::QueueId;
use crate::time::Timestamp;

const TOLD: &str = "TOLD";

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

/// Returns the lost messages that have no event yet, and the offset for [`set_told`] once they have. Blocks.
pub fn untold(spool: &Path) -> io::Result<(Vec<Lost>, u64)> {
    let told = match files::read_state(&folder(spool).join(TOLD)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        text => String::from_utf8_lossy(&text?).trim().parse().unwrap_or_default(),
    };
    let list = match std::fs::read(folder(spool).join(LIST)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        list => list?,
    };
    // Leave out a line that is still being written. An operator may have emptied the list since the last call.
    let end = list.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
    let from = usize::try_from(told).ok().filter(|from| *from <= end).unwrap_or_default();
    let lines = String::from_utf8_lossy(&list[from..end]);
    Ok((lines.lines().flat_map(|line| lost_in(spool, line)).collect(), end as u64))
}

/// Records that all messages up to this offset have their events. Blocks.
pub fn set_told(spool: &Path, place: u64) -> io::Result<()> {
    files::replace(&folder(spool).join(TOLD), format!("{place}\n").as_bytes())
}

/// The messages that a line of the list names. The rest of a torn write was never acknowledged.
fn lost_in(spool: &Path, line: &str) -> Vec<Lost> {
    let mut fields = line.splitn(4, '\t');
    let (Some(at), Some(name), Some(ids), Some(why)) = (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Vec::new();
    };
    let Ok(at) = at.parse::<Timestamp>() else { return Vec::new() };
    if name.rsplit_once('.').is_none_or(|(_, extension)| extension == TORN) {
        return Vec::new();
    }
    let lost = |id| Lost { id, at, copy: folder(spool).join(name), why: why.to_owned() };
    ids.split(',').filter_map(|id| id.parse().ok()).map(lost).collect()
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
}
