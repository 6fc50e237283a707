// Uploads a file with tus-js-client, as the JSON of the first argument says, and prints what came
// of it.
//
// path: of the file.
// pauseAt: bytes after which the upload is paused, and resumed by a new Upload that finds its URL
//   where the first one stored it.
// All else are options of tus.Upload.

import { createReadStream, rmSync } from "node:fs";
import { PassThrough } from "node:stream";
import tus from "tus-js-client";

const { path, pauseAt, ...options } = JSON.parse(process.argv[2]);
const store = `${path}.urls`;
const requests = [];

// What it knows the length of is no source for an upload whose length is said later.
function source() {
  const file = createReadStream(path);
  return options.uploadLengthDeferred ? file.pipe(new PassThrough()) : file;
}

function start(resuming) {
  return new Promise((resolve, reject) => {
    const upload = new tus.Upload(source(), {
      urlStorage: new tus.FileUrlStorage(store),
      fingerprint: async () => path,
      ...options,
      onAfterResponse: (request, response) => {
        requests.push([request.getMethod(), response.getStatus()]);
      },
      onProgress: async (sent) => {
        if (pauseAt && !resuming && sent >= pauseAt) {
          await upload.abort();
          resolve(null);
        }
      },
      onError: reject,
      onSuccess: () => resolve(upload.url),
    });
    upload.findPreviousUploads().then((previous) => {
      if (resuming) upload.resumeFromPreviousUpload(previous[0]);
      upload.start();
    });
  });
}

try {
  const url = (await start(false)) ?? (await start(true));
  console.log(JSON.stringify({ url, requests }));
} catch (error) {
  console.log(JSON.stringify({ error: String(error), requests }));
} finally {
  rmSync(store, { force: true });
}
