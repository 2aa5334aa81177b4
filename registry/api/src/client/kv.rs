//! Keys and values.

use bytes::Bytes;
use http::Method;

use super::{Answer, CALL_LIMIT, Client, Read, key};
use crate::Error;
use crate::kv::KvPair;

impl Client {
    /// One key; `None` if there is none, which can be watched too.
    pub async fn kv_get(&self, name: &str, read: &Read) -> Result<Answer<Option<KvPair>>, Error> {
        let raw = self
            .get(&format!("/v1/kv/{}", key(name)), read, &[])
            .await?;
        let absent = raw.answer(None);
        match raw.optional()? {
            None => Ok(absent),
            Some(raw) => Ok(raw
                .decode::<Vec<KvPair>>()?
                .map(|pairs| pairs.into_iter().next())),
        }
    }

    /// Every key under a prefix; empty if there is none.
    pub async fn kv_list(&self, prefix: &str, read: &Read) -> Result<Answer<Vec<KvPair>>, Error> {
        let extra = [("recurse", "true".to_owned())];
        let raw = self
            .get(&format!("/v1/kv/{}", key(prefix)), read, &extra)
            .await?;
        let absent = raw.answer(Vec::new());
        match raw.optional()? {
            None => Ok(absent),
            Some(raw) => raw.decode(),
        }
    }

    /// Writes a key. With `cas`, `false` when somebody changed it since (0: when it exists).
    pub async fn kv_put(
        &self,
        name: &str,
        value: impl Into<Bytes>,
        cas: Option<u64>,
    ) -> Result<bool, Error> {
        let query = cas.map(|index| ("cas", index.to_string()));
        let raw = self
            .put(
                &format!("/v1/kv/{}", key(name)),
                query.as_slice(),
                Some(value.into()),
            )
            .await?;
        Ok(raw.body.starts_with(b"true"))
    }

    /// Deletes a key; one that does not exist counts as deleted.
    pub async fn kv_delete(&self, name: &str, cas: Option<u64>) -> Result<bool, Error> {
        let query = cas.map(|index| ("cas", index.to_string()));
        let raw = self
            .send(
                Method::DELETE,
                &format!("/v1/kv/{}", key(name)),
                query.as_slice(),
                None,
                CALL_LIMIT,
            )
            .await?
            .ok()?;
        Ok(raw.body.starts_with(b"true"))
    }
}
