//! `/v1/kv/*`.

wire! {
    /// A key with its value as it travels: base64.
    pub struct KvPair {
        @always {
            lock_index: u64 = "LockIndex",
            key: String = "Key",
            flags: u64 = "Flags",
            /// Base64; `None` for an empty value.
            value: Option<String> = "Value",
        }
        session: String = "Session",
        create_index: u64 = "CreateIndex",
        modify_index: u64 = "ModifyIndex",
    }
}

impl KvPair {
    /// The bytes of the value.
    pub fn decode(&self) -> Result<Vec<u8>, base64::DecodeError> {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(self.value.as_deref().unwrap_or_default())
    }

    /// The value as it travels.
    pub fn encode(value: &[u8]) -> Option<String> {
        use base64::Engine as _;
        (!value.is_empty()).then(|| base64::engine::general_purpose::STANDARD.encode(value))
    }
}
