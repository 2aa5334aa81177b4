//! Which method a path names. Strict: route, authorization, log and upstream all use the same bytes, so nothing is normalised.

/// `pkg.Service/Method` of a gRPC path that is exactly `/pkg.Service/Method`, without a query.
pub fn method(path_and_query: &str) -> Option<&str> {
    let rest = path_and_query.strip_prefix('/')?;
    let (service, method) = rest.split_once('/')?;
    let word = |text: &str, dots: bool| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || (dots && byte == b'.'))
            && !text.starts_with('.')
            && !text.ends_with('.')
            && !text.contains("..")
    };
    (word(service, true) && word(method, false)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_shape_names_a_method() {
        for path in [
            "/shop.orders.v1.OrderService/PlaceOrder",
            "/Service/Method",
            "/a_b.C9/d_E",
        ] {
            assert_eq!(method(path), path.strip_prefix('/'), "{path}");
        }
        for path in [
            "", "/", "//", "/a", "/a/", "a/b", "/a/b/", "/a/b/c", "//a/b", "/a//b", "/a/b?x=1",
            "/a/b#f", "/a%2Fb/c", "/a/b%20", "/a/../b", "/./a", "/a/.", "/a.b/c.d", "/.a/b",
            "/a./b", "/a..b/c", "/a b/c", "/ä/b", "*",
        ] {
            assert_eq!(method(path), None, "{path}");
        }
    }
}
