//! Passwords are hashed with argon2id (19 MiB, two passes) on a bounded number of blocking threads, so that a rush of
//! sign-ins slows sign-ins alone. Checking takes the same time whether the user exists or not.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::error::Error;

/// Hashes computed at once; one core stays free for everybody else.
const AT_ONCE: usize = 1;
/// Sign-ins that wait for a turn; more are refused with `LOGIN_THROTTLED`.
const WAITING: usize = 256;

/// Cheap to clone; all clones share the turns.
#[derive(Debug, Clone)]
pub struct Passwords {
    queue: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    /// The hash of no user's password, checked when there is no user.
    nobody: Arc<str>,
}

impl Passwords {
    /// Makes the hash that stands in for unknown users.
    pub fn new() -> Result<Self, Error> {
        let mut unguessable = [0; 32];
        aws_lc_rs::rand::fill(&mut unguessable).map_err(|error| Error::Hash(error.to_string()))?;
        Ok(Self {
            queue: Arc::new(Semaphore::new(WAITING + AT_ONCE)),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            nobody: hash(&unguessable)?.into(),
        })
    }

    /// The PHC string of a new password.
    pub async fn hash(&self, password: String) -> Result<String, Error> {
        self.in_turn(move || hash(password.as_bytes())).await
    }

    /// Is it the password of `phc`? Without a `phc` the answer is no, after the same work.
    pub async fn verify(&self, password: String, phc: Option<String>) -> Result<bool, Error> {
        let known = phc.is_some();
        let phc = phc.unwrap_or_else(|| self.nobody.to_string());
        let matches = self
            .in_turn(move || verify(password.as_bytes(), &phc))
            .await?;
        Ok(matches && known)
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let _place = self.queue.try_acquire().map_err(|_| Error::Throttled)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|error| Error::Hash(error.to_string()))?;
        let done = tokio::task::spawn_blocking(move || {
            // The turn ends with the work, also when the caller no longer waits.
            let result = work();
            drop(turn);
            result
        });
        done.await.map_err(|error| Error::Hash(error.to_string()))?
    }
}

fn argon2() -> Result<Argon2<'static>, Error> {
    let params = Params::new(19 * 1024, 2, 1, None);
    let params = params.map_err(|error| Error::Hash(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &[u8]) -> Result<String, Error> {
    let hash: PasswordHash = argon2()?
        .hash_password(password)
        .map_err(|error| Error::Hash(error.to_string()))?;
    Ok(hash.to_string())
}

fn verify(password: &[u8], phc: &str) -> Result<bool, Error> {
    let hash = PasswordHash::new(phc).map_err(|error| Error::Hash(error.to_string()))?;
    Ok(argon2()?.verify_password(password, &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_of_a_known_user_matches() {
        let passwords = Passwords::new().unwrap();
        let phc = passwords.hash("hunter2".to_owned()).await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        for (password, phc, expected) in [
            ("hunter2", Some(phc.clone()), true),
            ("hunter3", Some(phc), false),
            ("hunter2", None, false),
        ] {
            let matches = passwords.verify(password.to_owned(), phc).await.unwrap();
            assert_eq!(matches, expected, "{password}");
        }
    }

    #[tokio::test]
    async fn more_than_the_queue_holds_are_told_to_wait() {
        let passwords = Passwords::new().unwrap();
        let held = passwords.turns.acquire_many(1).await.unwrap();
        let mut waiting: Vec<_> = (0..=WAITING)
            .map(|_| Box::pin(passwords.verify(String::new(), None)))
            .collect();
        for waits in &mut waiting {
            assert!(futures::poll!(waits.as_mut()).is_pending());
        }
        let refused = passwords.verify(String::new(), None).await;
        assert!(matches!(refused, Err(Error::Throttled)), "{refused:?}");
        drop(waiting);
        drop(held);
        assert!(passwords.verify(String::new(), None).await.is_ok());
    }
}
