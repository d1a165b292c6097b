//! Running rotations on disk: each has a file `<state_dir>/onboarding/rotations/<customer>.<place>.json`, which is replaced as a whole.
//!
//! A command keeps the [`lock`] while it changes a rotation, so that two commands cannot change the customer's file at the same time.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{READABLE, Rotation, VERSION};
use crate::customers::KeyPlace;
use crate::files;
use crate::message::CustomerId;
use crate::onboarding::Settings;
use crate::onboarding::state::write;

fn dir(settings: &Settings) -> PathBuf {
    settings.state_dir.join("rotations")
}

fn path(settings: &Settings, customer: &CustomerId, place: KeyPlace) -> PathBuf {
    // A customer's id cannot contain a dot, so two rotations never have the same file.
    dir(settings).join(format!("{customer}.{place}.json"))
}

/// The lock of a command that changes rotations. It is released when dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the file is the lock")] File);

/// Takes the lock. Waits while another command has it.
pub fn lock(settings: &Settings) -> io::Result<Lock> {
    in_dir(settings, |dir| {
        files::make_private_dir(dir)?;
        let file = files::lock_file(&dir.join(".lock"))?;
        file.lock()?;
        Ok(Lock(file))
    })
}

/// Returns all running rotations of a customer. Returns an error if a file cannot be read or has an unknown version.
pub fn under_way(settings: &Settings, customer: &CustomerId) -> io::Result<Vec<Rotation>> {
    in_dir(settings, |_| {
        let mut all = Vec::new();
        for place in KeyPlace::ALL {
            all.extend(load(&path(settings, customer, place))?);
        }
        Ok(all)
    })
}

fn in_dir<T: Send>(settings: &Settings, work: impl FnOnce(&Path) -> io::Result<T> + Send) -> io::Result<T> {
    let dir = dir(settings);
    files::in_state(&[&settings.state_dir, &dir], || work(&dir))
}

fn load(path: &Path) -> io::Result<Option<Rotation>> {
    let text = match files::read_state(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let invalid = |reason: String| {
        let what = format!("{}: {reason}; move the file away to start this change of keys over", path.display());
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
    if !READABLE.contains(&version) {
        return Err(invalid(format!("version {version} is not known")));
    }
    let mut rotation: Rotation = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
    rotation.version = VERSION;
    Ok(Some(rotation))
}

impl Rotation {
    /// Writes the rotation to disk.
    pub fn save(&self, settings: &Settings, customer: &CustomerId) -> io::Result<()> {
        in_dir(settings, |dir| {
            files::make_private_dir(dir)?;
            write(&path(settings, customer, self.place), self)
        })
    }

    /// Removes the rotation from disk.
    pub fn remove(&self, settings: &Settings, customer: &CustomerId) -> io::Result<()> {
        in_dir(settings, |_| fs::remove_file(path(settings, customer, self.place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onboarding::rotation::{Key, RotationStage};

    #[test]
    fn each_key_has_a_rotation_of_its_own_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { state_dir: dir.path().to_owned(), ..Settings::default() };
        let customer = CustomerId::new("test-as");
        assert_eq!(under_way(&settings, &customer).unwrap(), []);
        let key = |selector: &str| Key {
            selector: selector.into(),
            record: "v=DKIM1; p=AAAA".into(),
            file: format!("../../keys/{selector}.pem"),
        };
        let main = Rotation {
            stage: RotationStage::Overlap { since: 7, seen_new: true },
            ..Rotation::new(KeyPlace::Main, key("postbud1"), key("postbud2"))
        };
        let second = Rotation::new(KeyPlace::Ed25519, key("postbud1e"), key("postbud1e2"));
        main.save(&settings, &customer).unwrap();
        second.save(&settings, &customer).unwrap();
        assert_eq!(under_way(&settings, &customer).unwrap(), [main.clone(), second.clone()]);
        main.remove(&settings, &customer).unwrap();
        assert_eq!(under_way(&settings, &customer).unwrap(), std::slice::from_ref(&second));
        assert_eq!(under_way(&settings, &CustomerId::new("other")).unwrap(), []);

        let newer = Rotation { version: VERSION + 1, ..second };
        newer.save(&settings, &customer).unwrap();
        let refused = under_way(&settings, &customer).unwrap_err().to_string();
        assert!(refused.contains("test-as.ed25519.json: version 3 is not known"), "{refused}");
    }

    #[test]
    fn a_rotation_of_the_first_version_goes_on_and_its_new_key_has_yet_to_be_seen() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { state_dir: dir.path().to_owned(), ..Settings::default() };
        let key =
            |selector: &str| format!(r#"{{"selector": "{selector}", "record": "v=DKIM1; p=AAAA", "file": "k.pem"}}"#);
        let (old, new) = (key("postbud1"), key("postbud2"));
        let text = format!(
            r#"{{"version": 1, "place": "main", "old": {old}, "new": {new}, "stage": {{"overlap": {{"since": 7}}}}}}"#
        );
        fs::create_dir(dir.path().join("rotations")).unwrap();
        fs::write(dir.path().join("rotations/test-as.main.json"), text).unwrap();
        let [found] = &under_way(&settings, &CustomerId::new("test-as")).unwrap()[..] else { panic!("none") };
        assert_eq!(found.stage, RotationStage::Overlap { since: 7, seen_new: false });
        assert_eq!(found.version, VERSION);
    }

    #[test]
    fn commands_take_turns() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { state_dir: dir.path().to_owned(), ..Settings::default() };
        let held = lock(&settings).unwrap();
        let other = File::open(dir.path().join("rotations/.lock")).unwrap();
        assert!(other.try_lock().is_err());
        drop(held);
        other.try_lock().unwrap();
    }
}
