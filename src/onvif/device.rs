//! The device service (ONVIF Core Specification §8): describes this machine, and gives the
//! addresses of its services. Read-only.

use std::fmt::Write;
use std::net::IpAddr;

use chrono::{DateTime, Datelike, Timelike};

use super::facts::{Device, Interface, Network, scopes};
use super::media;
use super::soap::{Fault, Request};
use super::xml::{self, escaped};

/// The version of the services' specifications.
const VERSION: &str = "<tt:Major>2</tt:Major><tt:Minor>60</tt:Minor>";

/// The operations that need no login. ONVIF Core Specification §5.9.4.3, access class PRE_AUTH.
const OPEN: [&str; 6] = [
    "GetSystemDateAndTime",
    "GetServices",
    "GetServiceCapabilities",
    "GetCapabilities",
    "GetHostname",
    "GetEndpointReference",
];

/// Whether this operation is open to everybody.
pub(super) fn is_open(operation: &str) -> bool {
    OPEN.contains(&operation)
}

pub(super) fn answer(request: &Request, device: &Device) -> Result<String, Fault> {
    let operation = request.operation.name.local.as_str();
    let body = match operation {
        "GetSystemDateAndTime" => date_and_time(device),
        "GetDeviceInformation" => information(device),
        "GetCapabilities" => capabilities(request, device)?,
        "GetServices" => services(request, device),
        "GetServiceCapabilities" => own_capabilities(device),
        "GetScopes" => all_scopes(device),
        "GetNetworkInterfaces" => (device.interfaces)().iter().map(interface).collect(),
        "GetNetworkProtocols" => protocols(device),
        "GetHostname" => hostname(device),
        "GetDiscoveryMode" => "<tds:DiscoveryMode>Discoverable</tds:DiscoveryMode>".to_owned(),
        "GetEndpointReference" => format!("<tds:GUID>urn:uuid:{}</tds:GUID>", device.id),
        _ => return Err(Fault::no_such_action(operation)),
    };
    Ok(format!(
        "<tds:{operation}Response>{body}</tds:{operation}Response>"
    ))
}

fn date_and_time(device: &Device) -> String {
    let now = DateTime::from_timestamp(device.now, 0).unwrap_or_default();
    let kind = if device.is_clock_synchronised {
        "NTP"
    } else {
        "Manual"
    };
    let time = format!(
        "<tt:Time><tt:Hour>{}</tt:Hour><tt:Minute>{}</tt:Minute><tt:Second>{}</tt:Second></tt:Time>\
         <tt:Date><tt:Year>{}</tt:Year><tt:Month>{}</tt:Month><tt:Day>{}</tt:Day></tt:Date>",
        now.hour(),
        now.minute(),
        now.second(),
        now.year(),
        now.month(),
        now.day()
    );
    // The real time zone does not matter, but some clients fail without one.
    format!(
        "<tds:SystemDateAndTime><tt:DateTimeType>{kind}</tt:DateTimeType>\
         <tt:DaylightSavings>false</tt:DaylightSavings><tt:TimeZone><tt:TZ>UTC0</tt:TZ></tt:TimeZone>\
         <tt:UTCDateTime>{time}</tt:UTCDateTime><tt:LocalDateTime>{time}</tt:LocalDateTime>\
         </tds:SystemDateAndTime>"
    )
}

fn information(device: &Device) -> String {
    format!(
        "<tds:Manufacturer>lancam</tds:Manufacturer><tds:Model>lancam</tds:Model>\
         <tds:FirmwareVersion>{}</tds:FirmwareVersion><tds:SerialNumber>{}</tds:SerialNumber>\
         <tds:HardwareId>lancam</tds:HardwareId>",
        env!("CARGO_PKG_VERSION"),
        device.id
    )
}

/// The answer to the older GetCapabilities (§8.1.2.3); `Category` chooses a part of it.
fn capabilities(request: &Request, device: &Device) -> Result<String, Fault> {
    let asked: Vec<&str> = (request.operation.children.iter())
        .filter(|child| child.name.local == "Category")
        .map(|category| category.text.as_str())
        .collect();
    let wants = |name| asked.is_empty() || asked.contains(&"All") || asked.contains(&name);
    let mut out = String::new();
    if wants("Device") {
        out += &device_capabilities(device);
    }
    if wants("Media") {
        out += &media_capabilities(device);
    }
    if out.is_empty() {
        return Err(Fault::unsupported(
            &["ter:ActionNotSupported", "ter:NoSuchService"],
            "lancam has only a device and a media service",
        ));
    }
    Ok(format!("<tds:Capabilities>{out}</tds:Capabilities>"))
}

fn device_capabilities(device: &Device) -> String {
    format!(
        "<tt:Device><tt:XAddr>{}</tt:XAddr>\
         <tt:Network><tt:IPFilter>false</tt:IPFilter><tt:ZeroConfiguration>false</tt:ZeroConfiguration>\
         <tt:IPVersion6>true</tt:IPVersion6><tt:DynDNS>false</tt:DynDNS></tt:Network>\
         <tt:System><tt:DiscoveryResolve>true</tt:DiscoveryResolve><tt:DiscoveryBye>true</tt:DiscoveryBye>\
         <tt:RemoteDiscovery>false</tt:RemoteDiscovery><tt:SystemBackup>false</tt:SystemBackup>\
         <tt:SystemLogging>false</tt:SystemLogging><tt:FirmwareUpgrade>false</tt:FirmwareUpgrade>\
         <tt:SupportedVersions>{VERSION}</tt:SupportedVersions></tt:System>\
         <tt:IO><tt:InputConnectors>0</tt:InputConnectors><tt:RelayOutputs>0</tt:RelayOutputs></tt:IO>\
         <tt:Security><tt:TLS1.1>false</tt:TLS1.1><tt:TLS1.2>false</tt:TLS1.2>\
         <tt:OnboardKeyGeneration>false</tt:OnboardKeyGeneration>\
         <tt:AccessPolicyConfig>false</tt:AccessPolicyConfig><tt:X.509Token>false</tt:X.509Token>\
         <tt:SAMLToken>false</tt:SAMLToken><tt:KerberosToken>false</tt:KerberosToken>\
         <tt:RELToken>false</tt:RELToken></tt:Security></tt:Device>",
        escaped(&device.service("device_service"))
    )
}

fn media_capabilities(device: &Device) -> String {
    let has_rtsp = device.rtsp_port.is_some();
    format!(
        "<tt:Media><tt:XAddr>{}</tt:XAddr><tt:StreamingCapabilities>\
         <tt:RTPMulticast>{has_rtsp}</tt:RTPMulticast><tt:RTP_TCP>{has_rtsp}</tt:RTP_TCP>\
         <tt:RTP_RTSP_TCP>{has_rtsp}</tt:RTP_RTSP_TCP></tt:StreamingCapabilities>\
         <tt:Extension><tt:ProfileCapabilities><tt:MaximumNumberOfProfiles>{}</tt:MaximumNumberOfProfiles>\
         </tt:ProfileCapabilities></tt:Extension></tt:Media>",
        escaped(&device.service("media_service")),
        device.streams.len()
    )
}

fn services(request: &Request, device: &Device) -> String {
    let with_capabilities = matches!(request.argument("IncludeCapability"), Some("true" | "1"));
    let all = [
        (xml::DEVICE, "device_service", own_capabilities(device)),
        (xml::MEDIA, "media_service", media::capabilities(device)),
    ];
    let mut out = String::new();
    for (namespace, path, capabilities) in all {
        let capabilities = match with_capabilities {
            true => format!("<tds:Capabilities>{capabilities}</tds:Capabilities>"),
            false => String::new(),
        };
        let address = escaped(&device.service(path));
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "<tds:Service><tds:Namespace>{namespace}</tds:Namespace><tds:XAddr>{address}</tds:XAddr>\
             {capabilities}<tds:Version>{VERSION}</tds:Version></tds:Service>"
        );
    }
    out
}

/// The device service's own capabilities; those left out are false or none.
fn own_capabilities(device: &Device) -> String {
    let has_users = device.has_users;
    format!(
        "<tds:Capabilities><tds:Network IPVersion6=\"true\" NTP=\"0\"/>\
         <tds:Security UsernameToken=\"{has_users}\" HttpDigest=\"{has_users}\"/>\
         <tds:System DiscoveryResolve=\"true\" DiscoveryBye=\"true\"/></tds:Capabilities>"
    )
}

fn all_scopes(device: &Device) -> String {
    let scopes = scopes(device.host).into_iter();
    let scope = |scope: String| {
        format!(
            "<tds:Scopes><tt:ScopeDef>Fixed</tt:ScopeDef><tt:ScopeItem>{}</tt:ScopeItem></tds:Scopes>",
            escaped(&scope)
        )
    };
    scopes.map(scope).collect()
}

fn interface(interface: &Interface) -> String {
    let name = escaped(&interface.name);
    let hardware = interface.hardware.map(|byte| format!("{byte:02x}"));
    let v4 = of_family(interface, IpAddr::is_ipv4);
    let v6 = of_family(interface, IpAddr::is_ipv6);
    let mut out = format!(
        "<tds:NetworkInterfaces token=\"{name}\"><tt:Enabled>true</tt:Enabled>\
         <tt:Info><tt:Name>{name}</tt:Name><tt:HwAddress>{}</tt:HwAddress><tt:MTU>{}</tt:MTU></tt:Info>",
        hardware.join(":"),
        interface.mtu
    );
    // Whether DHCP gave the addresses is not known here.
    if !v4.is_empty() {
        out += &format!(
            "<tt:IPv4><tt:Enabled>true</tt:Enabled><tt:Config>{v4}<tt:DHCP>false</tt:DHCP></tt:Config></tt:IPv4>"
        );
    }
    if !v6.is_empty() {
        out += &format!(
            "<tt:IPv6><tt:Enabled>true</tt:Enabled><tt:Config><tt:DHCP>Off</tt:DHCP>{v6}</tt:Config></tt:IPv6>"
        );
    }
    out + "</tds:NetworkInterfaces>"
}

fn of_family(interface: &Interface, is_meant: fn(&IpAddr) -> bool) -> String {
    let entry = |network: &Network| {
        format!(
            "<tt:Manual><tt:Address>{}</tt:Address><tt:PrefixLength>{}</tt:PrefixLength></tt:Manual>",
            network.address, network.prefix
        )
    };
    let networks = interface.addresses.iter();
    networks
        .filter(|network| is_meant(&network.address))
        .map(entry)
        .collect()
}

fn protocols(device: &Device) -> String {
    let all = [("HTTP", Some(device.page_port)), ("RTSP", device.rtsp_port)];
    let protocol = |(name, port): (&str, Option<u16>)| {
        let port = port?;
        Some(format!(
            "<tds:NetworkProtocols><tt:Name>{name}</tt:Name><tt:Enabled>true</tt:Enabled>\
             <tt:Port>{port}</tt:Port></tds:NetworkProtocols>"
        ))
    };
    all.into_iter().filter_map(protocol).collect()
}

fn hostname(device: &Device) -> String {
    format!(
        "<tds:HostnameInformation><tt:FromDHCP>false</tt:FromDHCP><tt:Name>{}</tt:Name>\
         </tds:HostnameInformation>",
        escaped(device.host)
    )
}
