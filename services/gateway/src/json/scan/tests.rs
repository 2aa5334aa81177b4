//! What would be bent, dropped or taken twice, and where it stands.

use super::*;

const DEEPEST: usize = 64;

fn checked(kind: &str, text: &str) -> Option<(&'static str, String)> {
    let kind = outrigger_proto::pool().get_message_by_name(kind).unwrap();
    let refusal = check(&kind, text.as_bytes(), DEEPEST).err()?;
    let field = refusal.field_name().unwrap_or_default().to_owned();
    Some((refusal.reason(), field))
}

#[test]
fn orders_are_read_beside_their_contract() {
    for (text, expected) in [
        (
            r#"{"items":[{"productId":"a","quantity":1.0,"price":"12"}]}"#,
            None,
        ),
        (r#"{"items":null,"paymentMethod":null}"#, None),
        (r#"{"paymentMethod":"{\"a\":1,\"a\":2}"}"#, None),
        (r#"{"a":1}"#, Some(("JSON_INVALID", "a"))),
        (
            r#"{"items":[{},{"b":1}]}"#,
            Some(("JSON_INVALID", "items[1].b")),
        ),
        (r#"{"items":[null]}"#, Some(("JSON_INVALID", "items[0]"))),
        (
            r#"{"payment_method":"a","paymentMethod":"a"}"#,
            Some(("DUPLICATE_FIELD", "paymentMethod")),
        ),
        (
            r#"{"items":[{"quantity":1,"quantity":1}]}"#,
            Some(("DUPLICATE_FIELD", "items[0].quantity")),
        ),
        (
            r#"{"items":[{"price":9007199254740993.0}]}"#,
            Some(("JSON_INVALID", "items[0].price")),
        ),
        (
            r#"{"items":[{"price":18446744073709551616}]}"#,
            Some(("JSON_INVALID", "items[0].price")),
        ),
        (
            r#"{"paymentMethod":"\u0000"}"#,
            Some(("JSON_INVALID", "paymentMethod")),
        ),
    ] {
        let expected = expected.map(|(reason, field)| (reason, field.to_owned()));
        assert_eq!(
            checked("shop.orders.v1.PlaceOrderRequest", text),
            expected,
            "{text}"
        );
    }
}

#[test]
fn maps_and_free_forms_have_names_of_their_own() {
    let order = "shop.orders.v1.Order.Rejection";
    let event = "shop.orders.v1.OrderEvent";
    for (kind, text, refused) in [
        (order, r#"{"metadata":{"a_b":"1","aB":"2"}}"#, false),
        (order, r#"{"metadata":{"a":"1","a":"2"}}"#, true),
        (order, r#"{"metadata":{"a":null}}"#, true),
        (
            event,
            r#"{"payload":{"a_b":1e300,"aB":[null,{"x":null}]}}"#,
            false,
        ),
        (event, r#"{"payload":{"a":{"b":1,"b":2}}}"#, true),
        (event, r#"{"payload":{"a":1e400}}"#, true),
        (event, r#"{"time":"2026-06-30T23:59:60Z"}"#, true),
    ] {
        assert_eq!(checked(kind, text).is_some(), refused, "{text}");
    }
}

#[test]
fn depth_is_bounded_before_anything_is_parsed() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let kind = "shop.orders.v1.PlaceOrderRequest";
    assert_eq!(checked(kind, &deep(DEEPEST)), None);
    assert!(checked(kind, &deep(DEEPEST + 1)).is_some());
}

#[test]
fn text_that_is_no_json_is_walked_to_its_end() {
    for text in [
        "",
        "{",
        "}",
        "]]",
        "\"",
        "{\"",
        "{\"a\\",
        "-",
        "nul",
        ",:",
        "{,\"items\":}",
    ] {
        let _ = checked("shop.orders.v1.PlaceOrderRequest", text);
    }
}
