//! Sealing of small secrets and tokens: AES-256-GCM under a key of 32 random
//! bytes that lives in a file of mode 0600, created where it is missing.
//! Replicas that start together end up with the same key.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};

const NONCE: usize = 12;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("key file {path}: {source}")]
    File { path: String, source: io::Error },
    #[error("key file {0} does not hold 32 bytes")]
    Length(String),
    /// Damaged, foreign, or sealed for another purpose: which one is not told.
    #[error("the sealed value is not ours")]
    Foreign,
}

/// Seals and opens under one key. Cheap to clone.
#[derive(Clone)]
pub struct Sealer(Arc<RandomizedNonceKey>);

impl Sealer {
    pub fn from_key(key: &[u8; 32]) -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).expect("32 bytes are an AES-256 key");
        Self(Arc::new(key))
    }

    /// The key in `path`; a missing file is created with a random key.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(path).and_then(|()| fs::read(path))
            }
            read => read,
        };
        let bytes = bytes.map_err(|source| Error::File {
            path: name.clone(),
            source,
        })?;
        let key = <[u8; 32]>::try_from(bytes).map_err(|_| Error::Length(name))?;
        Ok(Self::from_key(&key))
    }

    /// `purpose` must be the same at opening: a value sealed for one thing is
    /// no use for another.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Vec<u8> {
        let mut text = plain.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut text)
            .expect("a small value can be sealed");
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut text);
        sealed
    }

    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let (nonce, text) = sealed.split_at_checked(NONCE).ok_or(Error::Foreign)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Foreign)?;
        let mut text = text.to_vec();
        let plain = self
            .0
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut text)
            .map_err(|_| Error::Foreign)?;
        Ok(plain.to_vec())
    }
}

/// Whole or not at all: the key is written beside its place and linked into it,
/// and where another process was faster its key stands.
fn create(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("no randomness"))?;
    let draft = path.with_extension(format!("{}.new", uuid::Uuid::now_v7()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(&key)?;
    file.sync_all()?;
    let linked = match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    };
    fs::remove_file(&draft)?;
    linked
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_was_sealed_opens_for_its_purpose_only() {
        let sealer = Sealer::from_key(&[7; 32]);
        let sealed = sealer.seal("page", b"P-101");
        assert_eq!(sealer.open("page", &sealed).unwrap(), b"P-101");
        assert!(sealer.open("key", &sealed).is_err());
        assert!(Sealer::from_key(&[8; 32]).open("page", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(sealer.open("page", &damaged).is_err(), "byte {at}");
            assert!(sealer.open("page", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_missing_key_file_is_created_private_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/page");
        let sealed = Sealer::from_file(&path).unwrap().seal("page", b"x");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            Sealer::from_file(&path)
                .unwrap()
                .open("page", &sealed)
                .unwrap(),
            b"x"
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_file_of_another_length_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "short").unwrap();
        assert!(matches!(Sealer::from_file(&path), Err(Error::Length(_))));
    }
}
