"""Drives headless Chromium by the DevTools protocol for tests/common/browser.rs.

One command a line on standard input, one JSON value a line on standard output:
    eval EXPRESSION         its value; a promise is waited for
    open URL                once it is loaded
    look WIDTH HEIGHT light|dark
    shot FILE               a PNG of what is seen
    shot-all FILE           a PNG of the whole page
    errors                  what console and network complained about
"""
import base64, json, os, re, shutil, subprocess, sys, tempfile, urllib.request

import websocket  # Debian: python3-websocket

home = tempfile.mkdtemp(prefix="lancam-browser-")
chromium = subprocess.Popen(
    [sys.argv[1], "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
     "--disable-background-networking", "--hide-scrollbars", "--remote-debugging-port=0", "--remote-allow-origins=*",
     f"--user-data-dir={home}", "about:blank"],
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
errors, replies, events, last = [], {}, [], 0


def start():
    for line in chromium.stderr:
        if found := re.search(r"ws://([^/]+)/", line):
            break
    else:
        sys.exit("chromium did not start")
    # Its pipe must not fill up.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    import threading
    threading.Thread(target=lambda: [None for _ in chromium.stderr], daemon=True).start()
    pages = json.load(urllib.request.urlopen(f"http://{found[1]}/json/list"))
    page = next(page for page in pages if page["type"] == "page")
    return websocket.create_connection(page["webSocketDebuggerUrl"], timeout=60, max_size=None)


def receive():
    message = json.loads(socket.recv())
    method, params = message.get("method"), message.get("params", {})
    if "id" in message:
        replies[message["id"]] = message
    elif method == "Runtime.exceptionThrown":
        errors.append(params["exceptionDetails"].get("text", "") + " " + params["exceptionDetails"].get("exception", {}).get("description", ""))
    elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
        errors.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
    elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
        errors.append(params["entry"]["text"] + " " + params["entry"].get("url", ""))
    elif method:
        events.append(method)


def call(method, **params):
    global last
    last += 1
    socket.send(json.dumps({"id": last, "method": method, "params": params}))
    while last not in replies:
        receive()
    reply = replies.pop(last)
    if "error" in reply:
        raise RuntimeError(f"{method}: {reply['error']}")
    return reply["result"]


def evaluate(expression):
    result = call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
    if "exceptionDetails" in result:
        return {"exception": result["exceptionDetails"].get("exception", {}).get("description", "?")}
    return result["result"].get("value")


def open_page(url):
    events.clear()
    call("Page.navigate", url=url)
    while "Page.domContentEventFired" not in events:
        receive()


def look(words):
    width, height, scheme = words.split()
    call("Emulation.setDeviceMetricsOverride", width=int(width), height=int(height), deviceScaleFactor=1, mobile=int(width) < 600)
    call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])


def shot(path, **more):
    png = call("Page.captureScreenshot", format="png", **more)["data"]
    with open(path, "wb") as file:
        file.write(base64.b64decode(png))


commands = {
    "eval": evaluate,
    "open": open_page,
    "look": look,
    "shot": shot,
    "shot-all": lambda path: shot(path, captureBeyondViewport=True),
    "errors": lambda _: errors,
}
try:
    socket = start()
    for domain in ("Page", "Runtime", "Log", "Network"):
        call(f"{domain}.enable")
    for line in sys.stdin:
        name, _, rest = line.rstrip("\n").partition(" ")
        print(json.dumps(commands[name](rest)), flush=True)
finally:
    chromium.kill()
    chromium.wait()
    shutil.rmtree(home, ignore_errors=True)
