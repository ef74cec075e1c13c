//! What a link had beside what our own words say of it: as a port of its bridge (`isolated`), as a vxlan
//! (`nolearning`), and for whoever else works with it (its alias, its group).

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage,
};
use tidelock_model::error::Fault;
use tidelock_model::network::Link;

use crate::network::view::View;

/// What of a link can be set again.
pub(super) fn of(message: &LinkMessage) -> LinkMessage {
    let mut kept = LinkMessage::default();
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::TxQueueLen(_) | LinkAttribute::Group(_) | LinkAttribute::IfAlias(_) => {
                kept.attributes.push(attribute.clone());
            }
            LinkAttribute::LinkInfo(infos) => {
                let infos: Vec<LinkInfo> = infos.iter().filter_map(settable).collect();
                kept.attributes.push(LinkAttribute::LinkInfo(infos));
            }
            _ => {}
        }
    }
    kept
}

fn settable(info: &LinkInfo) -> Option<LinkInfo> {
    match info {
        LinkInfo::Kind(InfoKind::Vxlan) | LinkInfo::PortKind(InfoPortKind::Bridge) => Some(info.clone()),
        LinkInfo::Data(InfoData::Vxlan(infos)) => {
            Some(LinkInfo::Data(InfoData::Vxlan(infos.iter().filter(of_vxlan).cloned().collect())))
        }
        LinkInfo::PortData(InfoPortData::BridgePort(infos)) => {
            Some(LinkInfo::PortData(InfoPortData::BridgePort(infos.iter().filter(of_port).cloned().collect())))
        }
        _ => None,
    }
}

/// What the kernel changes of a vxlan that is there; the rest it is made with.
fn of_vxlan(info: &&InfoVxlan) -> bool {
    matches!(
        info,
        InfoVxlan::Tos(_)
            | InfoVxlan::Ttl(_)
            | InfoVxlan::Label(_)
            | InfoVxlan::Learning(_)
            | InfoVxlan::Ageing(_)
            | InfoVxlan::Df(_)
    )
}

fn of_port(info: &&InfoBridgePort) -> bool {
    matches!(
        info,
        InfoBridgePort::Priority(_)
            | InfoBridgePort::Cost(_)
            | InfoBridgePort::HairpinMode(_)
            | InfoBridgePort::Guard(_)
            | InfoBridgePort::Protect(_)
            | InfoBridgePort::FastLeave(_)
            | InfoBridgePort::Learning(_)
            | InfoBridgePort::UnicastFlood(_)
            | InfoBridgePort::ProxyARP(_)
            | InfoBridgePort::ProxyARPWifi(_)
            | InfoBridgePort::MulticastFlood(_)
            | InfoBridgePort::MulticastToUnicast(_)
            | InfoBridgePort::VlanTunnel(_)
            | InfoBridgePort::BroadcastFlood(_)
            | InfoBridgePort::GroupFwdMask(_)
            | InfoBridgePort::NeighSupress(_)
            | InfoBridgePort::Isolated(_)
            | InfoBridgePort::Locked(_)
    )
}

/// Sets it on the link of this number. Gives what could not be.
pub(super) fn put(view: &mut View, kept: &LinkMessage, before: &Link, number: u32) -> Vec<String> {
    let (mut plain, mut vxlan, mut port) = (Vec::new(), Vec::new(), Vec::new());
    for attribute in &kept.attributes {
        let LinkAttribute::LinkInfo(infos) = attribute else {
            plain.push(attribute.clone());
            continue;
        };
        for info in infos {
            match info {
                LinkInfo::PortKind(_) | LinkInfo::PortData(_) => port.push(info.clone()),
                _ => vxlan.push(info.clone()),
            }
        }
    }
    let now = view.all_links().unwrap_or_default().into_iter().find(|link| link.name == before.name);
    let is_port = now.as_ref().is_some_and(|now| now.master == before.master && now.master.is_some());
    let is_alike = now.as_ref().is_some_and(|now| now.kind == before.kind);
    let mut lost = Vec::new();
    let mut said = |what: &str, put: Result<(), Fault>| {
        lost.extend(put.err().map(|fault| format!("{what} of {}: {}", before.name, fault.message)));
    };
    if !plain.is_empty() {
        said("the queue, group or alias", set(view, number, plain, RouteNetlinkMessage::SetLink));
    }
    // A change of these is a link that is made where there is one.
    if is_alike && vxlan.len() > 1 {
        said("the options", set(view, number, vec![LinkAttribute::LinkInfo(vxlan)], RouteNetlinkMessage::NewLink));
    }
    if is_port && port.len() > 1 {
        let port = vec![LinkAttribute::LinkInfo(port)];
        said("the options as a port", set(view, number, port, RouteNetlinkMessage::NewLink));
    }
    lost
}

fn set(
    view: &mut View,
    number: u32,
    attributes: Vec<LinkAttribute>,
    change: impl FnOnce(LinkMessage) -> RouteNetlinkMessage,
) -> Result<(), Fault> {
    let mut message = LinkMessage::default();
    message.header.index = number;
    message.attributes = attributes;
    view.rtnetlink().change(change(message), 0).map_err(|refused| refused.while_doing("set again what it had"))
}
