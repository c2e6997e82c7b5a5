//! A headless Chromium that is told what a person would do: clicks at places, keys, and looks at the page. It speaks the
//! DevTools protocol over two named pipes, which takes no other program.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the page may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Set, the folder that pictures of the page are kept in.
const PICTURES: &str = "GPTNEO_LORA_PICTURES";
/// When the browser is ended whatever it does, in seconds.
const LIFE: &str = "300";

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    commands: File,
    answers: BufReader<File>,
    sent: u64,
    session: Option<String>,
    /// Errors of the page's script, what it logged, and what it was refused.
    pub(crate) complaints: Vec<String>,
    _folder: TempDir,
}

impl Browser {
    /// Opens a page.
    pub(crate) fn open(program: &str, address: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [commands, answers] = ["commands", "answers"].map(|name| folder.path().join(name));
        assert!(Command::new("mkfifo").args([&commands, &answers]).status().unwrap().success());
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!("exec timeout {LIFE} {program} \"$@\" 3<commands 4>answers"))
            .arg("sh")
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Each waits for the other end, in the shell's order.
        let commands = File::options().write(true).open(commands).unwrap();
        let answers = BufReader::new(File::open(answers).unwrap());
        let (session, complaints) = (None, Vec::new());
        let mut browser = Self { child, commands, answers, sent: 0, session, complaints, _folder: folder };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(String::from);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.size(1200, 900);
        browser.call("Page.navigate", json!({"url": address}));
        browser.wait("document.readyState === 'complete'");
        browser
    }

    /// A command of the protocol and its result.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let mut message = json!({"id": self.sent, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.commands.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut bytes = Vec::new();
            self.answers.read_until(0, &mut bytes).unwrap();
            assert_eq!(bytes.pop(), Some(0), "the browser ended during {method}");
            let answer: Value = serde_json::from_slice(&bytes).unwrap();
            if answer["id"] == self.sent {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.listen(&answer);
        }
    }

    fn listen(&mut self, event: &Value) {
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => &event["params"]["exceptionDetails"],
            Some("Runtime.consoleAPICalled") => &event["params"]["args"],
            Some("Log.entryAdded") => &event["params"]["entry"],
            _ => return,
        };
        self.complaints.push(complaint.to_string());
    }

    /// What an expression is on the page.
    pub(crate) fn look(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let found = self.call("Runtime.evaluate", asked);
        assert!(found["exceptionDetails"].is_null(), "{expression}: {found}");
        found["result"]["value"].clone()
    }

    /// Waits until an expression holds.
    pub(crate) fn wait(&mut self, expression: &str) {
        let start = Instant::now();
        while self.look(expression) != true {
            if start.elapsed() > PATIENCE {
                let page = self.look("document.body.innerText");
                panic!("{expression} does not come to hold: {page} {:?}", self.complaints);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Clicks in the middle of the first element that a selector finds, wherever that is on the page.
    pub(crate) fn click(&mut self, selector: &str) {
        let place = self.look(&format!(
            "(() => {{ const element = document.querySelector({selector:?}); element.scrollIntoView({{block: 'center'}}); \
             const {{x, y, width, height}} = element.getBoundingClientRect(); return [x + width / 2, y + height / 2]; }})()"
        ));
        for (kind, buttons) in [("mousePressed", 1), ("mouseReleased", 0)] {
            let event = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "buttons": buttons,
                               "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Presses a key; `modifiers` is 2 for Ctrl and 8 for Shift.
    pub(crate) fn press(&mut self, key: &str, code: u32, modifiers: u32) {
        // A key that writes something has to say what.
        let text = if key == "Enter" {
            "\r"
        } else if key == " " {
            " "
        } else {
            ""
        };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
                               "modifiers": modifiers, "text": if kind == "keyDown" { text } else { "" }});
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Clicks into a field and writes in place of what it holds.
    pub(crate) fn write(&mut self, selector: &str, text: &str) {
        self.click(selector);
        self.look(&format!("document.querySelector({selector:?}).select()"));
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Makes the window another size.
    pub(crate) fn size(&mut self, width: u32, height: u32) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Prefers light or dark.
    pub(crate) fn scheme(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Keeps a picture of the whole page, to look at, where [`PICTURES`] says so.
    pub(crate) fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os(PICTURES) else { return };
        let taken = self.call("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        let picture = File::create(Path::new(&folder).join(name)).unwrap();
        let mut decoder =
            Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(picture).spawn().unwrap();
        decoder.stdin.take().unwrap().write_all(taken["data"].as_str().unwrap().as_bytes()).unwrap();
        assert!(decoder.wait().unwrap().success());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
