//! One byte from the callee's sidecar on a connection that agreed on `outrigger/tcp`, before the application's own bytes: whether the
//! caller was let in, and the application reached. Without it a caller could not tell an instance that is gone from one that is quiet,
//! for a TLS 1.3 client is done before the server has looked at its certificate.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::error::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// What follows is the application's.
    Ready,
    Denied,
    /// The application was not reached.
    Absent,
    Overloaded,
    /// The application takes calls, not bytes.
    Mismatch,
}

// === impl Word ===

impl Word {
    const ALL: [Self; 5] = [
        Self::Ready,
        Self::Denied,
        Self::Absent,
        Self::Overloaded,
        Self::Mismatch,
    ];

    fn byte(self) -> u8 {
        match self {
            Self::Ready => 0,
            Self::Denied => 1,
            Self::Absent => 2,
            Self::Overloaded => 3,
            Self::Mismatch => 4,
        }
    }

    pub(crate) async fn write<IO: AsyncWrite + Unpin>(self, io: &mut IO) -> io::Result<()> {
        io.write_all(&[self.byte()]).await?;
        io.flush().await
    }

    /// `None`: a byte that is no word.
    pub(crate) async fn read<IO: AsyncRead + Unpin>(io: &mut IO) -> io::Result<Option<Self>> {
        let byte = io.read_u8().await?;
        Ok(Self::ALL.into_iter().find(|word| word.byte() == byte))
    }

    /// Why there is no connection.
    pub(crate) fn refusal(self) -> Option<Kind> {
        match self {
            Self::Ready => None,
            Self::Denied => Some(Kind::Denied),
            Self::Absent => Some(Kind::NoEndpoint),
            Self::Overloaded => Some(Kind::Overloaded),
            Self::Mismatch => Some(Kind::NoRoute),
        }
    }

    /// What the log says of a refusal.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Denied => "it denies us; an intention has to allow it",
            Self::Absent => "its application cannot be reached",
            Self::Overloaded => "its sidecar is short of memory",
            Self::Mismatch => {
                "its application takes calls; set the upstream's protocol to what it speaks, or its own to tcp"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_word_is_read_as_it_was_written_and_nothing_behind_it() {
        for word in Word::ALL {
            let mut bytes = Vec::new();
            word.write(&mut bytes).await.unwrap();
            bytes.push(9);
            let mut rest = &bytes[..];
            assert_eq!(Word::read(&mut rest).await.unwrap(), Some(word));
            assert_eq!(rest, [9]);
            assert_eq!(word.refusal().is_none(), word == Word::Ready);
        }
        assert_eq!(Word::read(&mut &[9][..]).await.unwrap(), None);
    }
}
