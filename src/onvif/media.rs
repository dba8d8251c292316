//! The media service (ONVIF Media Service Specification §5): one profile for each stream. The
//! stream's name is the token of the profile, its source and its configurations. Read-only.

use super::facts::{Device, Stream};
use super::soap::{Fault, Request};
use super::xml::escaped;

/// The fault if nothing of this kind has the token.
const NO_PROFILE: [&str; 2] = ["ter:InvalidArgVal", "ter:NoProfile"];
const NO_CONFIG: [&str; 2] = ["ter:InvalidArgVal", "ter:NoConfig"];
/// The fault for a transport that is not offered.
const NO_SETUP: [&str; 2] = ["ter:InvalidArgVal", "ter:InvalidStreamSetup"];

pub(super) fn answer(request: &Request, device: &Device) -> Result<String, Fault> {
    let operation = request.operation.name.local.as_str();
    let each = |make: fn(&Stream) -> String| device.streams.iter().map(make).collect::<String>();
    let profile = || named(request, device, "ProfileToken", &NO_PROFILE);
    let configured = || named(request, device, "ConfigurationToken", &NO_CONFIG);
    let body = match operation {
        "GetServiceCapabilities" => capabilities(device),
        "GetProfiles" => each(|s| self::profile("trt:Profiles", s)),
        "GetProfile" => self::profile("trt:Profile", profile()?),
        "GetVideoSources" => each(source),
        "GetVideoSourceConfigurations" => each(|s| source_configuration("trt:Configurations", s)),
        "GetCompatibleVideoSourceConfigurations" => {
            source_configuration("trt:Configurations", profile()?)
        }
        "GetVideoSourceConfiguration" => source_configuration("trt:Configuration", configured()?),
        "GetVideoSourceConfigurationOptions" => source_options(optional(request, device)?),
        "GetVideoEncoderConfigurations" => each(|s| encoder("trt:Configurations", s)),
        "GetCompatibleVideoEncoderConfigurations" => encoder("trt:Configurations", profile()?),
        "GetVideoEncoderConfiguration" => encoder("trt:Configuration", configured()?),
        "GetVideoEncoderConfigurationOptions" => encoder_options(optional(request, device)?),
        "GetGuaranteedNumberOfVideoEncoderInstances" => {
            configured()?;
            "<trt:TotalNumber>1</trt:TotalNumber><trt:JPEG>1</trt:JPEG>".to_owned()
        }
        "GetStreamUri" => stream_uri(request, device, profile()?)?,
        "GetSnapshotUri" => uri(&device.snapshot(profile()?)),
        // Each JPEG can be decoded on its own.
        "SetSynchronizationPoint" => {
            profile()?;
            String::new()
        }
        _ => return Err(Fault::no_such_action(operation)),
    };
    Ok(format!(
        "<trt:{operation}Response>{body}</trt:{operation}Response>"
    ))
}

/// The service's capabilities; those left out are false or none.
pub(super) fn capabilities(device: &Device) -> String {
    let has_rtsp = device.rtsp_port.is_some();
    format!(
        "<trt:Capabilities SnapshotUri=\"true\">\
         <trt:ProfileCapabilities MaximumNumberOfProfiles=\"{}\"/>\
         <trt:StreamingCapabilities RTPMulticast=\"{has_rtsp}\" RTP_TCP=\"{has_rtsp}\"\
         \x20RTP_RTSP_TCP=\"{has_rtsp}\" NoRTSPStreaming=\"{}\"/></trt:Capabilities>",
        device.streams.len(),
        !has_rtsp
    )
}

/// The stream whose token is given by the argument `token`.
fn named<'a>(
    request: &Request,
    device: &'a Device,
    token: &str,
    fault: &'static [&'static str],
) -> Result<&'a Stream, Fault> {
    let token = request.argument(token).unwrap_or_default();
    // Surrounding white space has been removed while reading.
    let stream = device.streams.iter().find(|s| s.name.trim() == token);
    stream.ok_or_else(|| Fault::sender(fault, "there is nothing with this token"))
}

/// The stream named by either token; the first one if there is no token.
fn optional<'a>(request: &Request, device: &'a Device) -> Result<&'a Stream, Fault> {
    if request.argument("ConfigurationToken").is_some() {
        return named(request, device, "ConfigurationToken", &NO_CONFIG);
    }
    if request.argument("ProfileToken").is_some() {
        return named(request, device, "ProfileToken", &NO_PROFILE);
    }
    let first = device.streams.first();
    first.ok_or_else(|| Fault::sender(&NO_CONFIG, "there is no stream yet"))
}

fn profile(element: &str, stream: &Stream) -> String {
    let name = escaped(&stream.name);
    format!(
        "<{element} token=\"{name}\" fixed=\"true\"><tt:Name>{name}</tt:Name>{}{}</{element}>",
        source_configuration("tt:VideoSourceConfiguration", stream),
        encoder("tt:VideoEncoderConfiguration", stream)
    )
}

fn source(stream: &Stream) -> String {
    format!(
        "<trt:VideoSources token=\"{}\"><tt:Framerate>{}</tt:Framerate>{}</trt:VideoSources>",
        escaped(&stream.name),
        stream.fps,
        resolution("tt:Resolution", stream)
    )
}

fn resolution(element: &str, stream: &Stream) -> String {
    let (width, height) = stream.size;
    format!("<{element}><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height></{element}>")
}

fn source_configuration(element: &str, stream: &Stream) -> String {
    let name = escaped(&stream.name);
    let (width, height) = stream.size;
    format!(
        "<{element} token=\"{name}\"><tt:Name>{name}</tt:Name><tt:UseCount>1</tt:UseCount>\
         <tt:SourceToken>{name}</tt:SourceToken>\
         <tt:Bounds x=\"0\" y=\"0\" width=\"{width}\" height=\"{height}\"/></{element}>"
    )
}

fn source_options(stream: &Stream) -> String {
    let (width, height) = stream.size;
    format!(
        "<trt:Options><tt:BoundsRange>{}{}{}{}</tt:BoundsRange>\
         <tt:VideoSourceTokensAvailable>{}</tt:VideoSourceTokensAvailable></trt:Options>",
        only("tt:XRange", 0),
        only("tt:YRange", 0),
        only("tt:WidthRange", width.into()),
        only("tt:HeightRange", height.into()),
        escaped(&stream.name)
    )
}

/// A range with a single value.
fn only(element: &str, value: u32) -> String {
    format!("<{element}><tt:Min>{value}</tt:Min><tt:Max>{value}</tt:Max></{element}>")
}

/// The "encoder" is the source's own. Its quality is not known as a number.
fn encoder(element: &str, stream: &Stream) -> String {
    let name = escaped(&stream.name);
    format!(
        "<{element} token=\"{name}\"><tt:Name>{name}</tt:Name><tt:UseCount>1</tt:UseCount>\
         <tt:Encoding>JPEG</tt:Encoding>{}<tt:Quality>1</tt:Quality>\
         <tt:RateControl><tt:FrameRateLimit>{}</tt:FrameRateLimit>\
         <tt:EncodingInterval>1</tt:EncodingInterval><tt:BitrateLimit>{}</tt:BitrateLimit></tt:RateControl>\
         {}<tt:SessionTimeout>PT60S</tt:SessionTimeout></{element}>",
        resolution("tt:Resolution", stream),
        stream.whole_fps(),
        stream.kbit_per_s,
        multicast(stream)
    )
}

/// The group, to which the stream is sent in any case. A stream to a single machine has none.
fn multicast(stream: &Stream) -> String {
    let ip = stream.group.ip();
    let (address, port, ttl) = match ip.is_multicast() {
        true => (ip.to_string(), stream.group.port(), stream.ttl),
        false => ("0.0.0.0".to_owned(), 0, 0),
    };
    let family = match ip.is_multicast() && ip.is_ipv6() {
        true => "IPv6",
        false => "IPv4",
    };
    format!(
        "<tt:Multicast><tt:Address><tt:Type>{family}</tt:Type><tt:{family}Address>{address}</tt:{family}Address>\
         </tt:Address><tt:Port>{port}</tt:Port><tt:TTL>{ttl}</tt:TTL><tt:AutoStart>{}</tt:AutoStart></tt:Multicast>",
        ip.is_multicast()
    )
}

fn encoder_options(stream: &Stream) -> String {
    format!(
        "<trt:Options>{}<tt:JPEG>{}{}{}</tt:JPEG></trt:Options>",
        only("tt:QualityRange", 1),
        resolution("tt:ResolutionsAvailable", stream),
        only("tt:FrameRateRange", stream.whole_fps()),
        only("tt:EncodingIntervalRange", 1)
    )
}

/// §5.15.1. The answer is always an RTSP address; the protocol asked for is how RTSP carries RTP.
fn stream_uri(request: &Request, device: &Device, stream: &Stream) -> Result<String, Fault> {
    let setup = request.operation.child("StreamSetup");
    let asked = setup.and_then(|setup| setup.text_of("Stream"));
    let transport = setup.and_then(|setup| setup.child("Transport"));
    let protocol = transport.and_then(|transport| transport.text_of("Protocol"));
    let path = match (asked, protocol) {
        (Some("RTP-Unicast"), Some("UDP" | "TCP" | "RTSP")) => "",
        (Some("RTP-Multicast"), Some("UDP")) if stream.group.ip().is_multicast() => "/multicast",
        (Some("RTP-Multicast"), Some("UDP")) => {
            return Err(Fault::sender(
                &NO_SETUP,
                "this stream goes to a single machine",
            ));
        }
        _ => {
            let reason = "lancam has RTP-Unicast by UDP or RTSP, and RTP-Multicast by UDP";
            return Err(Fault::sender(&NO_SETUP, reason));
        }
    };
    let found = device.rtsp(stream, path);
    let found = found.ok_or_else(|| {
        let reason = "lancam's RTSP server is off: switch it on with rtsp: On or --rtsp";
        Fault::unsupported(&["ter:ActionNotSupported"], reason)
    })?;
    Ok(uri(&found))
}

fn uri(uri: &str) -> String {
    format!(
        "<trt:MediaUri><tt:Uri>{}</tt:Uri><tt:InvalidAfterConnect>false</tt:InvalidAfterConnect>\
         <tt:InvalidAfterReboot>false</tt:InvalidAfterReboot><tt:Timeout>PT0S</tt:Timeout></trt:MediaUri>",
        escaped(uri)
    )
}
