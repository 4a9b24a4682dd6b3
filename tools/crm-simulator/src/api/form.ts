/** The fields of a form, sent as multipart or URL-encoded; files are no part of it. */
export function formFields(contentType: string, body: string): [string, string][] {
  const boundary = /boundary="?([^";]+)"?/.exec(contentType)?.[1];
  if (boundary === undefined) return contentType.includes('urlencoded') ? [...new URLSearchParams(body)] : [];
  return body.split(`--${boundary}`).flatMap((part): [string, string][] => {
    const headEnd = part.indexOf('\r\n\r\n');
    const name = /name="([^"]*)"/.exec(part.slice(0, headEnd))?.[1];
    return headEnd < 0 || name === undefined ? [] : [[name, part.slice(headEnd + 4).replace(/\r\n$/, '')]];
  });
}
