//! Opening the file: with an error that a tired person can act on, and again after the disk failed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{
    Builder, Database, DatabaseError, Durability, ReadTransaction, ReadableDatabase, StorageError,
    WriteTransaction,
};

use baton_core::history::BackendError;

use super::layout::{self, Fault};

/// Pages kept in memory. Histories are written once and read once or twice, so a small cache is enough.
const CACHE: usize = 16 * 1024 * 1024;

const FILE: &str = "baton.redb";
const OWNER: &str = "baton.pid";

/// Why the store cannot be used: path, cause, remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory cannot be made, or nothing can be written in it.
    #[error(
        "cannot write to the store at {}: {source}. Give this user the right to write there, or name another directory in [store] url",
        path.display()
    )]
    NotWritable {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "the store at {} is in use by {}. Stop it, or give this bridge a directory of its own in [store] url",
        path.display(),
        owner.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// Where.
        path: PathBuf,
        /// Which, as far as it left its number.
        owner: Option<u32>,
    },
    /// No room on the disk.
    #[error("no room for the store at {}: {source}. Free some space, or name another directory in [store] url", path.display())]
    Full {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is there is not ours, or is broken.
    #[error(
        "the store at {} cannot be read: {why}. Move the file away to begin with an empty store; histories in it are lost to this bridge",
        path.display()
    )]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system gives no thread.
    #[error("cannot start the writer of the store at {}: {source}", path.display())]
    NoThread {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        let kind = source.kind();
        if matches!(
            kind,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ) {
            Self::Full { path, source }
        } else if kind == io::ErrorKind::InvalidData {
            let why = source.to_string();
            Self::Unreadable { path, why }
        } else {
            Self::NotWritable { path, source }
        }
    }

    fn from_database(path: &Path, error: DatabaseError) -> Self {
        let why = error.to_string();
        if let DatabaseError::Storage(StorageError::Io(source)) = error {
            return Self::from_io(path, source);
        }
        let path = path.to_owned();
        if let DatabaseError::DatabaseAlreadyOpen = error {
            let owner = path.parent().and_then(owner);
            return Self::InUse { path, owner };
        }
        Self::Unreadable { path, why }
    }

    fn from_fault(path: &Path, fault: Fault) -> Self {
        let why = fault.to_string();
        if let Fault::Storage(StorageError::Io(source))
        | Fault::Commit(redb::CommitError::Storage(StorageError::Io(source))) = fault
        {
            return Self::from_io(path, source);
        }
        let path = path.to_owned();
        Self::Unreadable { path, why }
    }
}

type Open = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// A database that is opened again after it failed: redb refuses everything after one I/O error, for good reason,
/// but a bridge has to go on when the disk has room again.
pub(super) struct Reopening {
    path: PathBuf,
    open: Open,
    database: RwLock<Option<Database>>,
}

impl Reopening {
    /// The file in `dir`.
    pub(super) fn in_dir(dir: &Path) -> Result<Self, OpenError> {
        make_private_dir(dir).map_err(|source| OpenError::from_io(dir, source))?;
        let path = dir.join(FILE);
        let file = path.clone();
        let open = Box::new(move || Builder::new().set_cache_size(CACHE).create(&file));
        let this = Self::new(path, open)?;
        make_private_file(&this.path).map_err(|source| OpenError::from_io(&this.path, source))?;
        // Only to name us to the next one who wants this directory; the lock is redb's own.
        if let Err(error) = fs::write(dir.join(OWNER), std::process::id().to_string()) {
            tracing::debug!(%error, "cannot leave this process's number beside the store");
        }
        Ok(this)
    }

    /// Whatever `open` opens; the first write proves that it can be written.
    pub(super) fn new(path: PathBuf, open: Open) -> Result<Self, OpenError> {
        let database = open().map_err(|error| OpenError::from_database(&path, error))?;
        write_to(&database, Durability::Immediate, layout::prepare)
            .map_err(|fault| OpenError::from_fault(&path, fault))?;
        Ok(Self {
            path,
            open,
            database: RwLock::new(Some(database)),
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in one transaction and commits it.
    pub(super) fn write<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = guard
            .as_ref()
            .ok_or_else(|| Fault::Closed("it is closed".into()))?;
        write_to(database, durability, work)
    }

    /// Runs `read` on a snapshot.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, BackendError> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(database) = guard.as_ref() else {
            return Err(Fault::Closed("it is closed".into()).into_backend_error());
        };
        database
            .begin_read()
            .map_err(Fault::from)
            .and_then(|snapshot| read(&snapshot))
            .map_err(Fault::into_backend_error)
    }

    /// Closes the file and opens it again, which repairs what an interrupted write left behind.
    pub(super) fn reopen(&self) -> Result<(), Fault> {
        let mut guard = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *guard = None;
        let database = (self.open)().map_err(|error| {
            if let DatabaseError::Storage(error) = error {
                return Fault::Storage(error);
            }
            Fault::Closed(error.to_string())
        })?;
        *guard = Some(database);
        Ok(())
    }
}

fn write_to<T>(
    database: &Database,
    durability: Durability,
    work: impl FnOnce(&WriteTransaction) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut transaction = database.begin_write()?;
    transaction
        .set_durability(durability)
        .map_err(|error| Fault::Closed(error.to_string()))?;
    let value = work(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// The number that the process which has this directory left in it.
fn owner(dir: &Path) -> Option<u32> {
    fs::read_to_string(dir.join(OWNER))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Conversations are personal data: nobody else on the machine may read them.
#[cfg(unix)]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

#[cfg(not(unix))]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

#[cfg(unix)]
fn make_private_file(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn make_private_file(_path: &Path) -> io::Result<()> {
    Ok(())
}
