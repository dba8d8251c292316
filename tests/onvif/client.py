"""ONVIF clients for tests/onvif.rs; each command prints one JSON object.

  discover                          looks for devices by WS-Discovery, as WSDiscovery does
  camera HOST PORT [USER PASSWORD]  asks a device as Home Assistant does (onvif-zeep-async)
  every HOST PORT STREAM [USER PASSWORD]
                                    asks all that lancam answers (zeep, strict), and checks each answer against
                                    ONVIF's own schemas; prints "valid" or the fault for each
  digest HOST PORT USER PASSWORD    asks for the profiles with HTTP's Digest
"""
import asyncio
import json
import os
import sys
import tempfile

import onvif
import zeep
from lxml import etree

WSDL = os.path.join(os.path.dirname(onvif.__file__), "wsdl")
XSD = "{http://www.w3.org/2001/XMLSchema}schema"
BODY = "{http://www.w3.org/2003/05/soap-envelope}Body"


def discover():
    from wsdiscovery import QName
    from wsdiscovery.discovery import ThreadedWSDiscovery

    wsd = ThreadedWSDiscovery()
    wsd.start()
    video = QName("http://www.onvif.org/ver10/network/wsdl", "NetworkVideoTransmitter")
    found = wsd.searchServices(types=[video], timeout=4)
    wsd.stop()
    return [
        {
            "id": service.getEPR(),
            "addresses": service.getXAddrs(),
            "scopes": [str(scope) for scope in service.getScopes()],
            "types": [str(kind) for kind in service.getTypes()],
        }
        for service in found
    ]


async def stream_uri(media, token, setup):
    try:
        return (await media.GetStreamUri({"ProfileToken": token, "StreamSetup": setup})).Uri
    except zeep.exceptions.Fault as fault:
        return subcodes(fault)


async def camera(host, port, user="", password=""):
    device = onvif.ONVIFCamera(host, int(port), user, password, no_cache=True, adjust_time=True)
    await device.update_xaddrs()
    management = await device.create_devicemgmt_service()
    information = await management.GetDeviceInformation()
    interfaces = await management.GetNetworkInterfaces()
    capabilities = await device.get_capabilities()
    media = await device.create_media_service()
    profiles = []
    for profile in await media.GetProfiles():
        setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
        group = {"Stream": "RTP-Multicast", "Transport": {"Protocol": "UDP"}}
        uri = await stream_uri(media, profile.token, setup)
        group = await stream_uri(media, profile.token, group)
        snapshot = await media.GetSnapshotUri({"ProfileToken": profile.token})
        picture = await device.get_snapshot(profile.token, basic_auth=False)
        encoder = profile.VideoEncoderConfiguration
        profiles.append(
            {
                "token": profile.token,
                "encoding": encoder.Encoding,
                "size": [encoder.Resolution.Width, encoder.Resolution.Height],
                "group": [encoder.Multicast.Address.IPv4Address, encoder.Multicast.Port],
                "stream": uri,
                "multicast": group,
                "snapshot": snapshot.Uri,
                "picture": picture.hex() if picture else None,
            }
        )
    await device.close()
    return {
        "services": device.xaddrs,
        "manufacturer": information.Manufacturer,
        "serial": information.SerialNumber,
        "hardware": interfaces[0].Info.HwAddress,
        "has_media": capabilities["Media"] is not None,
        "profiles": profiles,
    }


def schema(wsdl):
    """The schema inside of a WSDL file, which imports others beside it."""
    inner = etree.parse(os.path.join(WSDL, wsdl)).find(f".//{XSD}")
    with tempfile.NamedTemporaryFile("wb", dir=WSDL, suffix=".xsd") as file:
        etree.ElementTree(inner).write(file)
        file.flush()
        return etree.XMLSchema(etree.parse(file.name, etree.XMLParser(no_network=True)))


def every(host, port, stream, user=None, password=None):
    from zeep.plugins import HistoryPlugin
    from zeep.wsse.username import UsernameToken

    profile = {"ProfileToken": stream}
    configuration = {"ConfigurationToken": stream}
    uri = {"StreamSetup": {"Stream": "RTP-Unicast", "Transport": {"Protocol": "UDP"}}, **profile}
    services = {
        ("devicemgmt.wsdl", "http://www.onvif.org/ver10/device/wsdl", "DeviceBinding", "device_service"): {
            "GetSystemDateAndTime": {},
            "GetDeviceInformation": {},
            "GetCapabilities": {"Category": "All"},
            "GetServices": {"IncludeCapability": True},
            "GetServiceCapabilities": {},
            "GetScopes": {},
            "GetNetworkInterfaces": {},
            "GetNetworkProtocols": {},
            "GetHostname": {},
            "GetDiscoveryMode": {},
            "GetEndpointReference": {},
        },
        ("media.wsdl", "http://www.onvif.org/ver10/media/wsdl", "MediaBinding", "media_service"): {
            "GetServiceCapabilities": {},
            "GetProfiles": {},
            "GetProfile": profile,
            "GetVideoSources": {},
            "GetVideoSourceConfigurations": {},
            "GetVideoSourceConfiguration": configuration,
            "GetVideoSourceConfigurationOptions": {},
            "GetCompatibleVideoSourceConfigurations": profile,
            "GetVideoEncoderConfigurations": {},
            "GetVideoEncoderConfiguration": configuration,
            "GetVideoEncoderConfigurationOptions": configuration,
            "GetCompatibleVideoEncoderConfigurations": profile,
            "GetGuaranteedNumberOfVideoEncoderInstances": configuration,
            "GetStreamUri": uri,
            "GetSnapshotUri": profile,
            "SetSynchronizationPoint": profile,
        },
    }
    asked = {}
    for (wsdl, namespace, binding, path), operations in services.items():
        history = HistoryPlugin()
        token = UsernameToken(user, password, use_digest=True) if user else None
        client = zeep.Client(
            os.path.join(WSDL, wsdl), wsse=token, settings=zeep.Settings(strict=True), plugins=[history]
        )
        service = client.create_service(f"{{{namespace}}}{binding}", f"http://{host}:{port}/onvif/{path}")
        rules = schema(wsdl)
        for operation, arguments in operations.items():
            try:
                service[operation](**arguments)
            except zeep.exceptions.Fault as fault:
                asked[operation] = subcodes(fault)
                continue
            answer = history.last_received["envelope"].find(BODY)[0]
            # A copy by itself, as a document must be one.
            rules.assertValid(etree.ElementTree(etree.fromstring(etree.tostring(answer))))
            asked[operation] = "valid"
    return asked


def digest(host, port, user, password):
    import requests

    body = """<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>
        <GetProfiles xmlns="http://www.onvif.org/ver10/media/wsdl"/></s:Body></s:Envelope>"""
    answer = requests.post(
        f"http://{host}:{port}/onvif/media_service",
        data=body,
        headers={"Content-Type": "application/soap+xml"},
        auth=requests.auth.HTTPDigestAuth(user, password),
        timeout=30,
    )
    return {"status": answer.status_code, "has_profiles": "GetProfilesResponse" in answer.text}


def subcodes(fault):
    return " ".join(code.localname for code in fault.subcodes or [])


def main():
    commands = {"discover": discover, "camera": camera, "every": every, "digest": digest}
    answer = commands[sys.argv[1]](*sys.argv[2:])
    if asyncio.iscoroutine(answer):
        answer = asyncio.run(answer)
    print(json.dumps(answer))


main()
