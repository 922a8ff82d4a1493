//! Room on the disk that is given up when there is no other, so that what is stored can still be
//! worked off.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// A file of zeros beside the database. While it is missing, the disk is full.
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    is_held: bool,
}

impl Reserve {
    pub(super) fn new(database: &Path, bytes: u64) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-reserve");
        Self { path: path.into(), bytes, is_held: false }
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Takes the room, and returns whether it could. Another process on the same database may have
    /// taken it.
    pub(super) fn acquire(&mut self) -> bool {
        self.is_held = self.is_there() || self.write().is_ok();
        if !self.is_held {
            self.release();
        }
        self.is_held
    }

    pub(super) fn release(&mut self) {
        self.is_held = false;
        // If it cannot be removed, or is not there, there is no more to be done.
        let _ = fs::remove_file(&self.path);
    }

    fn is_there(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|file| file.len() == self.bytes)
    }

    fn write(&self) -> std::io::Result<()> {
        let mut file = File::create(&self.path)?;
        std::io::copy(&mut std::io::repeat(0).take(self.bytes), &mut file)?;
        // Some file systems find out only now.
        file.sync_all()
    }
}
