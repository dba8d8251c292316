//! What a config names that this machine lacks. The config may be for another machine, so these are
//! not mistakes.

use std::path::Path;

use super::resolve::Config;
use super::stream::Stream;
use crate::net::interface;
use crate::source::SourceSpec;

/// A sentence for each thing that is missing here.
pub fn missing_here(config: &Config) -> Vec<String> {
    let mut sentences = Vec::new();
    for stream in &config.streams {
        let missing = of_stream(stream).into_iter();
        sentences.extend(missing.map(|what| format!("stream \"{}\": {what}", stream.name)));
    }
    let users = config.services.users.load();
    sentences.extend(users.err().map(|why| why.to_string()));
    sentences
}

fn of_stream(stream: &Stream) -> Vec<String> {
    let mut missing = Vec::new();
    match stream.interface.as_deref().map(interface::find) {
        Some(Err(why)) => missing.push(why.to_string()),
        Some(Ok(found)) => missing.extend(found.smaller_than(stream.mtu)),
        None => (),
    }
    if let Some(core) = stream.pin {
        if !Path::new(&format!("/sys/devices/system/cpu/cpu{core}")).exists() {
            missing.push(format!("this machine has no CPU core {core}"));
        }
    }
    let source = match &stream.source {
        SourceSpec::Camera(camera) if camera.device.is_absolute() => Some(&camera.device),
        // A series has no file with its literal name.
        SourceSpec::File { path } if !path.to_string_lossy().contains('%') => Some(path),
        _ => None,
    };
    let folder = stream.sdp.as_deref().and_then(Path::parent);
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
    let paths = source.map(|path| &**path).into_iter().chain(folder);
    missing.extend(
        paths
            .filter(|path| !path.exists())
            .map(|path| format!("{} does not exist", path.display())),
    );
    missing
}
