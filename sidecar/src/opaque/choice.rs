//! What is carried on a connection: decided from configuration and agreement first, from its bytes only where both are silent.

use crate::config::AppProtocol;
use crate::tls::{ALPN, ALPN_OPAQUE};

/// What our application speaks on an upstream's own port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP and nothing else.
    Calls,
    /// Bytes, from the first one on.
    Opaque,
    /// Its first bytes tell, or its silence.
    Anything,
}

/// What a mesh peer's connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    Calls,
    Opaque {
        /// The peer waits for a first word.
        with_word: bool,
    },
    /// The peer means bytes, our application takes calls.
    Mismatch,
}

/// `declared` is the upstream's own key, `chain` what the registry says; `tcp` there may be nobody's word, for it is Consul's default.
pub(crate) fn speaks(declared: Option<AppProtocol>, chain_is_opaque: bool) -> Speaks {
    match declared {
        Some(AppProtocol::Tcp) => Speaks::Opaque,
        Some(AppProtocol::Grpc | AppProtocol::Http2 | AppProtocol::Http) => Speaks::Calls,
        None if chain_is_opaque => Speaks::Anything,
        None => Speaks::Calls,
    }
}

/// By what the handshake agreed on. A Consul Envoy offers nothing in front of a `tcp` service.
pub(crate) fn agreed(alpn: Option<&[u8]>, application: AppProtocol) -> Carried {
    let takes_bytes = application == AppProtocol::Tcp;
    match alpn {
        Some(ALPN_OPAQUE) if takes_bytes => Carried::Opaque { with_word: true },
        Some(ALPN_OPAQUE) => Carried::Mismatch,
        Some(ALPN) => Carried::Calls,
        _ if takes_bytes => Carried::Opaque { with_word: false },
        _ => Carried::Calls,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AppProtocol::{Grpc, Http, Http2, Tcp};

    #[test]
    fn configuration_decides_and_bytes_only_where_it_is_silent() {
        for (declared, chain_is_opaque, expected) in [
            (Some(Tcp), false, Speaks::Opaque),
            (Some(Tcp), true, Speaks::Opaque),
            (Some(Grpc), true, Speaks::Calls),
            (Some(Http2), true, Speaks::Calls),
            (Some(Http), false, Speaks::Calls),
            (None, true, Speaks::Anything),
            (None, false, Speaks::Calls),
        ] {
            assert_eq!(speaks(declared, chain_is_opaque), expected, "{declared:?}");
        }
    }

    #[test]
    fn bytes_go_to_an_application_that_takes_bytes_and_to_no_other() {
        let opaque = |with_word| Carried::Opaque { with_word };
        for (alpn, application, expected) in [
            (Some(ALPN_OPAQUE), Tcp, opaque(true)),
            (Some(ALPN_OPAQUE), Grpc, Carried::Mismatch),
            (Some(ALPN_OPAQUE), Http, Carried::Mismatch),
            (None, Tcp, opaque(false)),
            (None, Grpc, Carried::Calls),
            (Some(ALPN), Tcp, Carried::Calls),
            (Some(ALPN), Http2, Carried::Calls),
        ] {
            assert_eq!(
                agreed(alpn, application),
                expected,
                "{alpn:?} {application:?}"
            );
        }
    }
}
