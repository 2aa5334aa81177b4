//! SQLite: write-ahead log, every commit synced, one writer connection beside
//! a few that only read.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DbBackend, SqlxSqliteConnector, Statement,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Database, Error};

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const READERS: u32 = 4;
const JOURNAL_SIZE_LIMIT: &str = "67108864";

/// The file as it was opened. An open file that was deleted goes on taking
/// writes nobody will ever see again, so its place is looked at before each.
#[derive(Clone, Debug)]
pub(super) struct File(Arc<Identity>);

#[derive(Debug)]
struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

pub(super) async fn open(url: &str) -> Result<Database, Error> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|error| Error::Unavailable(error.to_string()))?
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("trusted_schema", "OFF")
        .pragma("wal_autocheckpoint", "1000")
        .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT);
    let path = options.get_filename().to_owned();
    let pool = |size: u32| {
        SqlitePoolOptions::new()
            .max_connections(size)
            .acquire_timeout(BUSY_TIMEOUT)
            .max_lifetime(None)
            .idle_timeout(None)
    };
    // The writer first: it creates the file.
    let writer = pool(1)
        .connect_with(options.clone())
        .await
        .map_err(unavailable)?;
    let writer = SqlxSqliteConnector::from_sqlx_sqlite_pool(writer);
    quick_check(&writer).await?;
    let readers = pool(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
    let reader = SqlxSqliteConnector::from_sqlx_sqlite_pool(readers);
    let file = File::at(path).map_err(|error| Error::Unavailable(error.to_string()))?;
    Ok(Database {
        reader,
        writer,
        file: Some(file),
    })
}

async fn quick_check(connection: &DatabaseConnection) -> Result<(), Error> {
    let statement = Statement::from_string(DbBackend::Sqlite, "PRAGMA quick_check");
    let row = connection.query_one_raw(statement).await?;
    let verdict: String = match row {
        Some(row) => row.try_get_by_index(0)?,
        None => String::new(),
    };
    if verdict == "ok" {
        return Ok(());
    }
    Err(Error::Unavailable(format!(
        "quick_check: {verdict}; restore the file from a backup"
    )))
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn unavailable(error: sqlx::Error) -> Error {
    Error::Unavailable(error.to_string())
}

impl File {
    fn at(path: PathBuf) -> io::Result<Self> {
        let metadata = std::fs::metadata(&path)?;
        Ok(Self(Arc::new(Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            path,
        })))
    }

    /// Is the file we have open still the one at its path?
    pub(super) fn check(&self) -> Result<(), Error> {
        let Identity {
            path,
            device,
            inode,
        } = self.0.as_ref();
        let same = std::fs::metadata(path)
            .is_ok_and(|metadata| metadata.dev() == *device && metadata.ino() == *inode);
        if same {
            return Ok(());
        }
        Err(Error::Unavailable(format!(
            "{} is gone; restart the service",
            path.display()
        )))
    }
}
