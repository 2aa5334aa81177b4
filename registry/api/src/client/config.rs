//! Config entries.

use http::Method;

use super::{Answer, CALL_LIMIT, Client, Read, segment};
use crate::Error;
use crate::config::{ConfigEntry, Kind};

impl Client {
    /// Writes an entry. With `cas`, `false` when somebody changed it since (0: when it exists).
    pub async fn config_put(&self, entry: &ConfigEntry, cas: Option<u64>) -> Result<bool, Error> {
        let body = serde_json::to_vec(entry).map_err(Error::Decode)?;
        let query = cas.map(|index| ("cas", index.to_string()));
        let raw = self
            .put("/v1/config", query.as_slice(), Some(body.into()))
            .await?;
        Ok(raw.body.starts_with(b"true"))
    }

    /// One entry; `None` if there is none, which can be watched too.
    pub async fn config_get(
        &self,
        kind: Kind,
        name: &str,
        read: &Read,
    ) -> Result<Answer<Option<ConfigEntry>>, Error> {
        let path = format!("/v1/config/{kind}/{}", segment(name));
        let raw = self.get(&path, read, &[]).await?;
        let absent = raw.answer(None);
        match raw.optional()? {
            None => Ok(absent),
            Some(raw) => Ok(raw.decode::<ConfigEntry>()?.map(Some)),
        }
    }

    /// Every entry of a kind.
    pub async fn config_list(
        &self,
        kind: Kind,
        read: &Read,
    ) -> Result<Answer<Vec<ConfigEntry>>, Error> {
        self.read(&format!("/v1/config/{kind}"), read).await
    }

    /// Deletes an entry; one that does not exist counts as deleted. With `cas`, `false` on a mismatch.
    pub async fn config_delete(
        &self,
        kind: Kind,
        name: &str,
        cas: Option<u64>,
    ) -> Result<bool, Error> {
        let path = format!("/v1/config/{kind}/{}", segment(name));
        let query = cas.map(|index| ("cas", index.to_string()));
        let raw = self
            .send(Method::DELETE, &path, query.as_slice(), None, CALL_LIMIT)
            .await?
            .ok()?;
        Ok(!raw.body.starts_with(b"false"))
    }
}
