//! The contracts as reflection shows them: services and methods that are not exposed are cut out. Files are edited as
//! dynamic messages, because generated descriptor types would drop the options.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Value};

/// Field numbers of `FileDescriptorProto` and `ServiceDescriptorProto` in the paths of source locations.
const SERVICE: i32 = 6;
const METHOD: i32 = 2;

/// New places of services and methods: `[6, old]` to new, `[6, old, 2, old]` to new; what was cut out has none.
type Places = BTreeMap<Vec<i32>, i32>;

/// The set of this pool with, of the shop's methods, only those named: `shop.orders.v1.OrderService.GetOrder`.
/// `None`: the bytes are no such set.
pub(crate) fn cut(
    pool: &DescriptorPool,
    set: &[u8],
    methods: &BTreeSet<String>,
) -> Option<Vec<u8>> {
    let kind = pool.get_message_by_name("google.protobuf.FileDescriptorSet")?;
    let mut set = DynamicMessage::decode(kind, set).ok()?;
    let field = set.get_field_by_name("file")?.into_owned();
    let Value::List(mut files) = field else {
        return None;
    };
    for file in &mut files {
        cut_file(file.as_message_mut()?, methods)?;
    }
    set.set_field_by_name("file", Value::List(files));
    Some(set.encode_to_vec())
}

fn cut_file(file: &mut DynamicMessage, methods: &BTreeSet<String>) -> Option<()> {
    let package = text(file, "package")?;
    if !package.starts_with("shop.") {
        return Some(());
    }
    let mut places = Places::new();
    let mut kept = Vec::new();
    for (index, mut service) in list(file, "service")?.into_iter().enumerate() {
        let place = vec![SERVICE, i32::try_from(index).ok()?];
        let message = service.as_message_mut()?;
        let prefix = format!("{package}.{}.", text(message, "name")?);
        if cut_service(message, &prefix, methods, &place, &mut places)? {
            places.insert(place, i32::try_from(kept.len()).ok()?);
            kept.push(service);
        }
    }
    file.set_field_by_name("service", Value::List(kept));
    let mut info = file.get_field_by_name("source_code_info")?.into_owned();
    move_comments(info.as_message_mut()?, &places)?;
    file.set_field_by_name("source_code_info", info);
    Some(())
}

/// Whether anything is left of it.
fn cut_service(
    service: &mut DynamicMessage,
    prefix: &str,
    methods: &BTreeSet<String>,
    place: &[i32],
    places: &mut Places,
) -> Option<bool> {
    let mut kept = Vec::new();
    for (index, method) in list(service, "method")?.into_iter().enumerate() {
        let name = format!("{prefix}{}", text(method.as_message()?, "name")?);
        if methods.contains(&name) {
            let old = [place, &[METHOD, i32::try_from(index).ok()?]].concat();
            places.insert(old, i32::try_from(kept.len()).ok()?);
            kept.push(method);
        }
    }
    let any = !kept.is_empty();
    service.set_field_by_name("method", Value::List(kept));
    Some(any)
}

/// Comments are found by the index of what they stand at.
fn move_comments(info: &mut DynamicMessage, places: &Places) -> Option<()> {
    let mut kept = Vec::new();
    for mut location in list(info, "location")? {
        let message = location.as_message_mut()?;
        let path = list(message, "path")?;
        let path: Vec<i32> = path.iter().filter_map(Value::as_i32).collect();
        if let Some(path) = moved(path, places) {
            let path = path.into_iter().map(Value::I32).collect();
            message.set_field_by_name("path", Value::List(path));
            kept.push(location);
        }
    }
    info.set_field_by_name("location", Value::List(kept));
    Some(())
}

fn moved(mut path: Vec<i32>, places: &Places) -> Option<Vec<i32>> {
    if path.first() != Some(&SERVICE) {
        return Some(path);
    }
    let old = path.clone();
    // A method's index, then its service's, both looked up by the old path.
    for length in [4, 2] {
        let Some(place) = old.get(..length) else {
            continue;
        };
        if length == 4 && place.get(2) != Some(&METHOD) {
            continue;
        }
        *path.get_mut(length - 1)? = *places.get(place)?;
    }
    Some(path)
}

fn text(message: &DynamicMessage, field: &str) -> Option<String> {
    let value = message.get_field_by_name(field)?;
    value.as_str().map(str::to_owned)
}

fn list(message: &DynamicMessage, field: &str) -> Option<Vec<Value>> {
    match message.get_field_by_name(field)?.into_owned() {
        Value::List(list) => Some(list),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_is_gone_and_what_is_left_keeps_its_options_and_words() {
        let named = "shop.payments.v1.PaymentService.GetPayment".to_owned();
        let bytes = cut(
            outrigger_proto::pool(),
            outrigger_proto::DESCRIPTOR_SET,
            &BTreeSet::from([named.clone()]),
        );
        let pool = DescriptorPool::decode(bytes.unwrap().as_slice()).unwrap();
        let methods: Vec<_> = pool
            .services()
            .filter(|service| service.full_name().starts_with("shop."))
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .collect();
        let names: Vec<_> = methods.iter().map(|method| method.full_name()).collect();
        assert_eq!(names, [named]);
        assert!(outrigger_proto::options::http(&methods[0]).is_some());
        let file = methods[0].parent_file();
        let info = file.file_descriptor_proto().source_code_info.as_ref();
        let comment = |path: &[i32]| {
            let location = info.unwrap().location.iter().find(|at| at.path == path);
            location.unwrap().leading_comments().trim().to_owned()
        };
        let service = outrigger_proto::pool()
            .get_service_by_name("shop.payments.v1.PaymentService")
            .unwrap();
        let original = service.methods().find(|m| m.name() == "GetPayment");
        let original = original.unwrap();
        let file = original.parent_file();
        let words = file.file_descriptor_proto().source_code_info.as_ref();
        let words = words.unwrap().location.iter();
        let words = words.clone().find(|at| at.path == original.path()).unwrap();
        assert_eq!(comment(methods[0].path()), words.leading_comments().trim());
    }
}
