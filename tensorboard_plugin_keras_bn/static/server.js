// What the plugin's routes answer.

/** JSON of a route. parameters: object, name to a text or to a list of texts. Throws an Error whose message is a sentence for the page. */
export async function answer(route, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) for (const one of [value].flat()) query.append(name, one);
  let response;
  try {
    response = await fetch(`${route}?${query}`);
  } catch {
    throw new Error("TensorBoard does not answer; is it still running?");
  }
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(content.error ?? `TensorBoard answered ${response.status} to ${route}.`);
  return content;
}

/** A number of an answer: null where it is missing, NaN and Infinity as such. */
export function number(value) {
  return value === null || value === undefined ? null : Number(value);
}
