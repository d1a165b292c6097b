//! File systems of a test's own: small ones in memory that get full, and ones in a file whose power can be cut. Only root can make them.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

fn run(words: &[&str]) -> Result<(), String> {
    let out = Command::new(words[0]).args(&words[1..]).output().map_err(|error| format!("{}: {error}", words[0]))?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    if out.status.success() { Ok(()) } else { Err(format!("{}: {said}", words.join(" "))) }
}

/// A small file system in memory.
pub struct Memory {
    path: PathBuf,
    /// Its folder, where it has one of its own.
    own: Option<TempDir>,
}

impl Memory {
    /// Makes one in a folder of its own, with these options of tmpfs.
    pub fn make(options: &str) -> Result<Memory, String> {
        let own = tempfile::tempdir().unwrap();
        let mut memory = Memory::over(own.path(), options)?;
        memory.own = Some(own);
        Ok(memory)
    }

    /// Mounts one over this folder, whose files cannot be seen meanwhile.
    pub fn over(path: &Path, options: &str) -> Result<Memory, String> {
        std::fs::create_dir_all(path).unwrap();
        run(&["mount", "-t", "tmpfs", "-o", options, "none", &path.display().to_string()])?;
        Ok(Memory { path: path.to_owned(), own: None })
    }

    /// Gives it another size.
    pub fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        run(&["mount", "-o", &options, &self.path.display().to_string()]).expect("the file system takes another size");
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves no more than this many octets free. Returns the file that takes the rest; remove it to make room again.
    pub fn fill(&self, leave: u64) -> PathBuf {
        let path = self.path.join(".full");
        let mut file = std::fs::File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let len = file.metadata().unwrap().len();
        file.set_len(len.saturating_sub(leave)).unwrap();
        path
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// A file system in a file.
pub struct Mounted {
    path: PathBuf,
    image: TempDir,
    /// Its folder, where it has one of its own.
    own: Option<TempDir>,
}

impl Mounted {
    /// Makes one of this kind (ext4, xfs) in a folder of its own.
    pub fn make(kind: &str) -> Result<Mounted, String> {
        let own = tempfile::tempdir().unwrap();
        let mut mounted = Mounted::over(kind, own.path())?;
        mounted.own = Some(own);
        Ok(mounted)
    }

    /// Mounts one over this folder.
    pub fn over(kind: &str, path: &Path) -> Result<Mounted, String> {
        std::fs::create_dir_all(path).unwrap();
        let image = tempfile::tempdir().unwrap();
        let file = image.path().join("image").display().to_string();
        run(&["truncate", "-s", "320M", &file])?;
        let on_errors: &[&str] = if kind == "ext4" { &["-e", "remount-ro"] } else { &[] };
        run(&[&[&format!("mkfs.{kind}"), "-q"], on_errors, &[&file]].concat())?;
        mount(&file, path)?;
        Ok(Mounted { path: path.to_owned(), image, own: None })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From here on nothing reaches the disk, not even what the journal holds in memory.
    pub fn cut(&self) -> Result<(), String> {
        run(&["xfs_io", "-x", "-c", "shutdown", &self.path.display().to_string()])
    }

    /// An error on the file system, which ext4 answers by taking no more writes.
    pub fn turn_read_only(&self) -> Result<(), String> {
        let mount = self.path.display().to_string();
        let out = Command::new("findmnt").args(["-n", "-o", "SOURCE", &mount]).output().map_err(|e| e.to_string())?;
        let source = String::from_utf8_lossy(&out.stdout);
        let device = source.trim().rsplit('/').next().unwrap_or_default();
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(&trigger, "test").map_err(|error| format!("{trigger}: {error}"))
    }

    /// Power is back.
    pub fn restart(&self) -> Result<(), String> {
        run(&["umount", &self.path.display().to_string()])?;
        mount(&self.image.path().join("image").display().to_string(), &self.path)
    }
}

fn mount(image: &str, path: &Path) -> Result<(), String> {
    run(&["mount", "-o", "loop", image, &path.display().to_string()])
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = run(&["umount", &self.path.display().to_string()]);
    }
}
