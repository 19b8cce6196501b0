// Puts a button next to each command that copies it, where the browser lets a page do so.
for (const command of navigator.clipboard ? document.querySelectorAll("pre.command") : []) {
  const button = document.createElement("button");
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command.textContent.trim());
    button.textContent = "Copied";
  });
  command.after(button);
}
