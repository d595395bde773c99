// What the scripts of JavaScript's clients share, as cases.py has it for Python's.
export const V1 = `${process.env.ANUBHAV_URL}/v1`;
export const KEY = process.env.ANUBHAV_API_KEY;
export const MODEL = process.env.ANUBHAV_MODEL;
export const SCHEMA = {
  type: "object",
  properties: { city: { type: "string", enum: ["Paris", "Rome"] } },
  required: ["city"],
  additionalProperties: false,
};

export function check(right, found) {
  if (!right) throw new Error(`found ${JSON.stringify(found)}`);
}

export async function attempt(capability, work) {
  let wrong = null;
  try {
    await work();
  } catch (problem) {
    wrong = `${problem.name}: ${problem.message}`.slice(0, 500);
  }
  console.log(JSON.stringify({ capability, wrong }));
}

export function told() {
  process.exit(0);
}
